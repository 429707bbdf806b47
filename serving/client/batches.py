"""Photos and images in batches, as requests take them."""

import math
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from serving.client.messages import PredictRequest
from serving.client.tensors import floats_to_proto, strings_to_proto


class Batch(Protocol):
    """What one request asks for."""

    @property
    def subject(self) -> str:
        """What it is, for messages."""

    def __len__(self) -> int: ...

    def fill(self, request: Any) -> None:
        """Writes the inputs of a `PredictRequest`."""

    def halves(self) -> "tuple[Batch, Batch]":
        """Itself in two parts, of which none is empty: it must hold two or more."""


@dataclass(frozen=True)
class FileBatch:
    """Contents of image files.

    Attributes:
        paths: of the files.
        contents: of each of them.
    """

    paths: Sequence[str]
    contents: Sequence[bytes]

    @property
    def subject(self) -> str:
        """The files."""
        return ", ".join(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def fill(self, request: Any) -> None:
        """Writes the files as `image_bytes`."""
        request.inputs["image_bytes"].CopyFrom(strings_to_proto(self.contents))

    def halves(self) -> "tuple[FileBatch, FileBatch]":
        """The first half of the files, and the others."""
        middle = len(self) // 2
        return (
            FileBatch(self.paths[:middle], self.contents[:middle]),
            FileBatch(self.paths[middle:], self.contents[middle:]),
        )


@dataclass(frozen=True)
class ImageBatch:
    """Decoded images.

    Attributes:
        images: RGB in 0..255, [number, height, width, 3].
        first: number of the first of them among all images of the call.
    """

    images: np.ndarray
    first: int

    @property
    def subject(self) -> str:
        """The numbers of the images."""
        return f"images {self.first} to {self.first + len(self) - 1}"

    def __len__(self) -> int:
        return len(self.images)

    def fill(self, request: Any) -> None:
        """Writes the images as `images`, float32."""
        request.inputs["images"].CopyFrom(floats_to_proto(self.images))

    def halves(self) -> "tuple[ImageBatch, ImageBatch]":
        """The first half of the images, and the others."""
        middle = len(self) // 2
        return ImageBatch(self.images[:middle], self.first), ImageBatch(self.images[middle:], self.first + middle)


@dataclass(frozen=True)
class Target:
    """What of a server is asked.

    Attributes:
        model: name that it is served under.
        signature: of the model.
        version: None for the newest.
    """

    model: str
    signature: str
    version: int | None = None

    def request(self, batch: Batch) -> Any:
        """The `PredictRequest` for a batch."""
        request = PredictRequest()
        request.model_spec.name = self.model
        request.model_spec.signature_name = self.signature
        if self.version is not None:
            request.model_spec.version.value = self.version
        batch.fill(request)
        return request


def names_of(paths: Iterable[str | os.PathLike[str]]) -> Iterator[str]:
    """The paths as text, one after the other."""
    return (os.fspath(path) for path in paths)


def file_groups(paths: Iterable[str], batch_size: int, max_bytes: int) -> Iterator[list[str]]:
    """Puts files together for requests: each group takes the next files as long as they fit.

    From the first file of any group on, the groups are the same again.

    Args:
        paths: read as groups are asked for.
        batch_size: files in a group.
        max_bytes: of the files in a group. One that is larger, or cannot be looked at, counts as empty: it is not sent.
    """
    group: list[str] = []
    held = 0
    for path in paths:
        size = _size(path)
        size = size if size <= max_bytes else 0
        if group and (len(group) == batch_size or held + size > max_bytes):
            yield group
            group = []
            held = 0
        group.append(path)
        held += size
    if group:
        yield group


def check_batch_size(batch_size: int) -> None:
    """Raises ValueError where a batch is to hold nothing."""
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: {batch_size=}")


def check_batches(argument: str, items: Sequence[object] | np.ndarray, batch_size: int) -> None:
    """Raises ValueError where there is nothing to embed, or a batch is to hold nothing."""
    check_batch_size(batch_size)
    if not len(items):
        raise ValueError(f"`{argument}` must hold at least one image. Received: {argument}={items}")


def checked_images(images: np.ndarray, batch_size: int, max_bytes: int) -> list[ImageBatch]:
    """Cuts images for requests of at most so many bytes in float32, or of one image.

    Raises:
        ValueError: they are not of shape [number, height, width, 3], there are none, or `batch_size` is below 1.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            f"`images` must be RGB images of shape [number, height, width, 3]; add an axis to a single image. "
            f"Received: images.shape={images.shape}"
        )
    check_batches("images", images, batch_size)
    bytes_of_one = 4 * math.prod(images.shape[1:])
    step = max(1, min(batch_size, max_bytes // max(1, bytes_of_one)))
    return [ImageBatch(images[first : first + step], first) for first in range(0, len(images), step)]


def read_photo(path: str, max_bytes: int) -> bytes:
    """Reads an image file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file, or has more than `max_bytes`.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"not a file: {path}")
    with open(path, "rb") as file:
        contents = file.read(max_bytes + 1)
    if len(contents) > max_bytes:
        raise ValueError(f"larger than `max_bytes`, {max_bytes}, which one request may have: {path}")
    return contents


def read_files(paths: Sequence[str], max_bytes: int) -> FileBatch:
    """Reads image files; raises as `read_photo` does."""
    return FileBatch(paths, [read_photo(path, max_bytes) for path in paths])


def read_files_tolerantly(paths: Sequence[str], max_bytes: int) -> tuple[FileBatch, list[str]]:
    """Reads those image files that can be read.

    Returns:
        These files, and why each of `paths` cannot be read: an empty text for those that can.
    """
    read: list[tuple[str, bytes]] = []
    errors = []
    for path in paths:
        try:
            read.append((path, read_photo(path, max_bytes)))
        except FileNotFoundError:
            errors.append("missing")
        except OSError as error:
            errors.append(error.strerror or str(error))
        except ValueError as error:  # Among them a path with a zero byte.
            errors.append(str(error).removesuffix(f": {path}"))
        else:
            errors.append("")
    return FileBatch([path for path, _ in read], [contents for _, contents in read]), errors


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0
