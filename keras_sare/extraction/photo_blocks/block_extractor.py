"""Photos of a source to descriptors: reading, decoding and describing at the same time, in bounded memory."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from keras_sare.datasets.photo_sources.source_photo import SourcePhoto
from keras_sare.extraction.photo_blocks.block_model import BlockModel
from keras_sare.extraction.photo_blocks.photo_reader import read_photo
from keras_sare.extraction.photo_blocks.unusable import UnusablePhotoError

_MOST_WAITING = 512
"""Photos that are read ahead at most: more would gain nothing."""

_Prepared = tuple[SourcePhoto, Any, str]


@dataclass(frozen=True, eq=False)
class DescribedPhotos:
    """Some photos, in the order of their source.

    Attributes:
        photos: those that have a descriptor.
        descriptors: float16 [n, dim], theirs.
        left_out: those that have none, and why.
    """

    photos: list[SourcePhoto]
    descriptors: np.ndarray
    left_out: list[tuple[SourcePhoto, str]]

    def __len__(self) -> int:
        return len(self.photos) + len(self.left_out)


class BlockExtractor:
    """Describes photos in blocks. The same photos from the same start on make the same blocks and batches.

    Args:
        model: of them.
        kind: of their source's positions.
        memory: bytes that prepared photos may take that wait for the model.
        max_bytes: that a photo's file may have. Each thread holds one beside `memory`, and what it decodes.
        threads: that read and decode.

    Raises:
        ValueError: two blocks do not fit into `memory`.
    """

    def __init__(self, model: BlockModel, kind: str, memory: float, max_bytes: int, threads: int) -> None:
        self.model = model
        self._kind = kind
        self._max_bytes = max_bytes
        self._threads = threads
        self._waiting = min(int(memory // (model.block * model.item_bytes)), max(2, _MOST_WAITING // model.block))
        if self._waiting < 2:
            needed = 2 * model.block * model.item_bytes / 1e9
            raise ValueError(
                f"`memory_gb` must be at least {needed:.2f} for blocks of {model.block} photos of these sizes; raise "
                f"it, or lower `batch`. Received: memory_gb={memory / 1e9:g}"
            )

    def __call__(self, photos: Iterable[SourcePhoto]) -> Iterator[DescribedPhotos]:
        """Describes photos, which are taken as they are needed.

        Raises:
            RuntimeError: the model fails on photos that it should describe, for example for lack of memory.
        """
        rest = iter(photos)
        waiting: deque[list[Future[_Prepared]]] = deque()
        with ThreadPoolExecutor(self._threads, "photos") as pool:
            try:
                while block := [*islice(rest, self.model.block)]:
                    waiting.append([pool.submit(self._prepare, photo) for photo in block])
                    if len(waiting) == self._waiting:
                        yield self._describe(waiting.popleft())
                while waiting:
                    yield self._describe(waiting.popleft())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _prepare(self, photo: SourcePhoto) -> _Prepared:
        try:
            photo, contents = read_photo(photo, self._kind, self._max_bytes)
            return photo, self.model.prepare(contents), ""
        except UnusablePhotoError as error:
            return photo, None, str(error)

    def _describe(self, block: list[Future[_Prepared]]) -> DescribedPhotos:
        prepared = [future.result() for future in block]
        good = [(photo, item) for photo, item, reason in prepared if not reason]
        left_out = [(photo, reason) for photo, _, reason in prepared if reason]
        if not good:
            return DescribedPhotos([], np.zeros((0, 0), np.float16), left_out)
        descriptors, errors = self.model.describe([item for _, item in good])
        kept = [row for row, error in enumerate(errors) if not error]
        left_out += [(photo, error) for (photo, _), error in zip(good, errors, strict=True) if error]
        return DescribedPhotos([good[row][0] for row in kept], descriptors[kept].astype(np.float16), left_out)
