"""How requests to locate photos and their answers are written: protobuf, JSON, or a file with an address."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlencode

from google.protobuf import json_format

from keras_sare.localization import PhotoAnswer
from serving.errors import invalid_argument
from serving.limits import Limits
from serving.localization.messages import LocalizeRequest, LocalizeResponse
from serving.localization.options import MOST_LISTED, Options, options_of_text, read_options
from serving.rest.json_encoding import json_size, parse_document
from serving.rest.json_values import bytes_of_base64, is_base64
from serving.wire.parsing import MAX_FIELDS, parse_bounded

_LOOKED_AT = 1024


class Question(NamedTuple):
    """A request.

    Attributes:
        photos: contents of files.
        options: what is asked for.
    """

    photos: Sequence[bytes]
    options: Options


class Encoding(Protocol):
    """Reads requests and writes answers."""

    def size(self, data: bytes) -> int:
        """See `serving.rpc.encoding.Encoding.size`."""

    def parse(self, data: bytes, limits: Limits) -> Question:
        """Parses a request.

        Raises:
            RequestError: it is none, or beyond the limits.
        """

    def answer(self, answers: Sequence[PhotoAnswer]) -> bytes:
        """Writes the answer of each photo."""


class ProtobufEncoding:
    """LocalizeRequest and LocalizeResponse."""

    def size(self, data: bytes) -> int:
        """See `Encoding.size`."""
        return len(data)

    def parse(self, data: bytes, limits: Limits) -> Question:
        """See `Encoding.parse`."""
        request = parse_bounded(LocalizeRequest, data, MAX_FIELDS)
        _check_count(len(request.photos), limits)
        values = {
            # No longer than what is refused for its length.
            field.name: list(value[: MOST_LISTED + 1]) if field.name in ("near", "maps") else value
            for field, value in request.ListFields()
            if field.name != "photos"
        }
        return Question(list(request.photos), read_options(values))

    def answer(self, answers: Sequence[PhotoAnswer]) -> bytes:
        """See `Encoding.answer`."""
        response = json_format.ParseDict({"answers": [answer.to_json() for answer in answers]}, LocalizeResponse())
        return bytes(response.SerializeToString())


class JsonEncoding:
    """`{"photos": [{"b64": ...}], ...}`."""

    def size(self, data: bytes) -> int:
        """See `Encoding.size`."""
        return json_size(data)

    def parse(self, data: bytes, limits: Limits) -> Question:
        """See `Encoding.parse`."""
        if not data[:_LOOKED_AT].lstrip().startswith(b"{"):
            raise invalid_argument(
                "The body must be JSON, an object, or a photo that comes with its type, as in Content-Type: image/jpeg"
            )
        document = parse_document(data)
        photos = document.pop("photos", None)
        if not isinstance(photos, list) or not all(map(is_base64, photos)):
            raise invalid_argument('`photos` must be a list of files in base64, as in [{"b64": "..."}]')
        _check_count(len(photos), limits)
        return Question([_decoded(photo["b64"]) for photo in photos], read_options(document))

    def answer(self, answers: Sequence[PhotoAnswer]) -> bytes:
        """See `Encoding.answer`."""
        return json.dumps({"answers": [_with_thumbnails(answer.to_json()) for answer in answers]}).encode()


class FileEncoding(JsonEncoding):
    """A photo's file alone, with options in the address.

    Args:
        query: names and values of the address.
    """

    def __init__(self, query: list[tuple[str, str]]) -> None:
        self._query = query

    def size(self, data: bytes) -> int:
        """See `Encoding.size`."""
        return len(data)

    def parse(self, data: bytes, limits: Limits) -> Question:
        """See `Encoding.parse`."""
        _check_count(1, limits)
        return Question([data], read_options(options_of_text(self._query)))


def thumbnail_path(name: str, photo: str) -> str:
    """The address of a thumbnail.

    Args:
        name: of the map.
        photo: its name in the map.
    """
    return f"/v1/maps/{quote(name, safe='')}/thumbnails?{urlencode({'name': photo})}"


def _with_thumbnails(answer: dict[str, Any]) -> dict[str, Any]:
    for candidate in answer.get("candidates", ()):
        candidate["thumbnail"] = thumbnail_path(candidate["map"], candidate["name"])
    return answer


def _decoded(text: str) -> bytes:
    try:
        return bytes_of_base64(text)
    except ValueError as error:
        raise invalid_argument("`photos` must hold base64; one does not") from error


def _check_count(photos: int, limits: Limits) -> None:
    if not photos:
        raise invalid_argument("`photos` must hold one photo at least. Received: none")
    if photos > limits.images:
        raise invalid_argument(
            f"`photos` must hold at most {limits.images} photos (`max_images`); send the others in further requests. "
            f"Received: {photos}",
            "max_images",
        )
