"""Shards of described photos, one after the other, into a place index."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from keras_sare.extraction.photo_blocks.block_extractor import DescribedPhotos
from keras_sare.localization import IndexRecord, PlaceIndex, PlaceRows
from trainers.stages.extract.left_out import LeftOut
from trainers.stages.extract.record import ExtractionRecord, Progress, Writing
from trainers.stages.extract.taken import TakenPhotos

logger = logging.getLogger("keras_sare.extract")


@dataclass
class _Shard:
    """What has come of a shard so far."""

    seen: int = 0
    photos: int = 0
    first: str = ""


class Extraction:
    """Writes described photos to a place index, shard by shard.

    Args:
        output: folder of the index.
        record: of the extraction.
        index: where it is there already.
        index_record: of the index.
        left_out: photos without a descriptor.
        shard: photos of each, a multiple of the engine's blocks.
    """

    def __init__(
        self,
        output: Path,
        record: ExtractionRecord,
        index: PlaceIndex | None,
        index_record: IndexRecord,
        left_out: LeftOut,
        shard: int,
    ) -> None:
        self._output = output
        self._record = record
        self._index = index
        self._index_record = index_record
        self._left_out = left_out
        self._size = shard

    def run(self, described: Iterator[DescribedPhotos], taken: TakenPhotos) -> Progress:
        """Writes all shards that are left, and then makes what finds photos fast.

        Args:
            described: of an engine.
            taken: what it took them from.

        Returns:
            How far the extraction has come.

        Raises:
            ValueError: too many photos are left out.
            OSError: the index cannot be written.
        """
        while self._write_shard(described, taken):
            logger.info("%d shards written: %d photos", self._record.progress.shards, self._record.progress.photos)
        if self._index is not None:
            self._index.index()
        return self._record.progress

    def _write_shard(self, described: Iterator[DescribedPhotos], taken: TakenPhotos) -> bool:
        """Writes the next shard; False where no photo is left."""
        shard = _Shard()
        rows = self._rows(shard, described, taken)
        first = next(rows, None)
        if first is not None and self._index is None:
            self._index = PlaceIndex.create(
                self._output, self._index_record, chain([first], rows), lambda folder: self._finish(folder)
            )
        elif first is not None and self._index is not None:
            self._index.extend(chain([first], rows), self._index_record.model)
        if shard.seen and self._record.writing is not None:
            self._finish(None if self._index is None else self._output)
        return shard.seen > 0

    def _rows(self, shard: _Shard, described: Iterator[DescribedPhotos], taken: TakenPhotos) -> Iterator[PlaceRows]:
        for some in described:
            shard.seen += len(some)
            self._left_out.add(some.left_out, len(some), self._record.progress.shards)
            if some.photos:
                shard.first = shard.first or some.photos[0].name
                shard.photos += len(some.photos)
                yield _place_rows(some)
            if shard.seen >= self._size:
                break
        else:
            self._left_out.check_all()
        if shard.seen:
            self._complete(shard, taken)

    def _complete(self, shard: _Shard, taken: TakenPhotos) -> None:
        """Takes note that all photos of a shard are described, before Lance commits them."""
        before = self._record.progress
        photos = before.photos + shard.photos
        progress = Progress(before.shards + 1, taken.ends.popleft(), photos, self._left_out.count)
        version = 0 if self._index is None else self._index.version
        self._record = replace(self._record, writing=Writing(progress, version, shard.first))
        if self._index is not None:
            self._left_out.write(self._output, self._output, before.shards)
            self._record.write(self._output)

    def _finish(self, folder: Path | None) -> None:
        """Takes note that a shard is in the index; `folder` is None as long as no photo has a descriptor."""
        if self._record.writing is None:
            return
        before = self._record.progress
        self._record = replace(self._record, progress=self._record.writing.progress, writing=None)
        if folder is None:
            return
        if folder != self._output:  # The folder is being made: what was noted of the shard has had no place.
            self._left_out.write(folder, folder, before.shards)
        self._record.write(folder)


def _place_rows(described: DescribedPhotos) -> PlaceRows:
    photos = described.photos
    traversals = [photo.traversal for photo in photos]
    return PlaceRows(
        names=[photo.name for photo in photos],
        descriptors=described.descriptors,
        positions=np.array([photo.position for photo in photos], np.float64),
        headings=np.array([photo.heading for photo in photos], np.float32),
        timestamps=[photo.time for photo in photos],
        traversals=traversals if any(traversals) else None,
    )
