"""What a client asks of `LocalizationService`, and what it makes of the answers; without TensorFlow."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import grpc

from keras_sare.localization import PhotoAnswer, PhotoCandidate
from serving.client.batches import read_photo
from serving.client.exchange import EmbeddingError, Steps, sent
from serving.client.settings import RequestSettings
from serving.localization.messages import LocalizeRequest

Photo = str | os.PathLike[str] | bytes
"""A file, or what is in one."""


def groups_of(photos: Sequence[Photo], most: int, options: Mapping[str, Any], max_bytes: int) -> Iterable[list[bytes]]:
    """Puts photos together for requests, which are read as groups are asked for; those of a walk are one request.

    Args:
        photos: files, or their contents.
        most: photos in a group.
        options: of the requests.
        max_bytes: of the photos in a group.

    Raises:
        OSError: a file cannot be read.
        ValueError: one, or a walk, has more than `max_bytes`.
    """
    return _one_group(photos, max_bytes) if options.get("sequence") else _photo_groups(photos, most, max_bytes)


def _photo_groups(photos: Iterable[Photo], most: int, max_bytes: int) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    for photo in photos:
        contents = photo if isinstance(photo, bytes) else read_photo(os.fspath(photo), max_bytes)
        if group and (len(group) == most or sum(map(len, group)) + len(contents) > max_bytes):
            yield group
            group = []
        group.append(contents)
    if group:
        yield group


def _one_group(photos: Sequence[Photo], max_bytes: int) -> Iterator[list[bytes]]:
    groups = [*_photo_groups(photos, len(photos), max_bytes)]
    if len(groups) > 1:
        raise ValueError(
            f"The photos of a sequence must fit one request of {max_bytes} bytes (`max_bytes`); send fewer or smaller "
            f"ones. Received: {len(photos)} photos"
        )
    yield from groups


def localized(photos: Sequence[bytes], options: Mapping[str, Any], settings: RequestSettings) -> Steps:
    """Asks where photos were taken. Returns a `PhotoAnswer` of each.

    Args:
        photos: contents of files.
        options: fields of `LocalizeRequest`; None for those that are left out.
        settings: of the requests.

    Raises:
        EmbeddingError: the server refused or failed the request.
        ValueError: there is no such option, or a value is none of it.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        request = LocalizeRequest(photos=photos, **given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The options must be those of LocalizeRequest. Received: {given}: {error}") from error
    outcome = yield from sent(request, settings)
    if isinstance(outcome, grpc.RpcError):
        raise EmbeddingError(outcome, f"{len(photos)} photos", doing="locating") from outcome
    return [_answer(message) for message in outcome.answers]


def _answer(message: Any) -> PhotoAnswer:
    if message.HasField("error"):
        return PhotoAnswer(error=message.error)
    return PhotoAnswer(
        known=message.known,
        position=_position(message) if message.HasField("position") else None,
        uncertainty=_value(message, "uncertainty"),
        probability=_value(message, "probability"),
        map=_value(message, "map"),
        candidates=tuple(map(_candidate, message.candidates)),
        surest=_value(message, "surest"),
    )


def _candidate(message: Any) -> PhotoCandidate:
    return PhotoCandidate(
        map=message.map,
        name=message.name,
        row=message.row,
        score=message.score,
        distance=_value(message, "distance"),
        position=_position(message),
        heading=_value(message, "heading"),
        timestamp=_value(message, "timestamp"),
    )


def _position(message: Any) -> dict[str, float]:
    return {field.name: value for field, value in message.position.ListFields()}


def _value(message: Any, name: str) -> Any:
    return getattr(message, name) if message.HasField(name) else None
