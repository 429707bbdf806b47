"""What an extraction costs, measured on its first photos."""

import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

from keras_sare.datasets.photo_sources.photo_source import Cursor, PhotoSource
from keras_sare.utils.files import free_bytes
from keras_sare.utils.progress import duration
from trainers.stages.extract.engine import Engine

ROW_BYTES = 200
"""Of a photo, beside its descriptor."""

SECONDS = 10.0
"""That the sample takes, about."""

_BLOCKS = 64


@dataclass(frozen=True)
class Estimate:
    """What is left to do.

    Attributes:
        photos: that are left, about.
        dim: of the descriptors.
        rate: photos a second.
        measured: photos that it was measured on.
        workers: that it was measured with.
    """

    photos: int
    dim: int
    rate: float
    measured: int
    workers: int

    @property
    def bytes(self) -> int:
        """Of the result."""
        return self.photos * (2 * self.dim + ROW_BYTES)

    def text(self, output: Path) -> str:
        """A line for people."""
        free = free_bytes(output)
        workers = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
        takes = duration(self.photos / self.rate)
        return (
            f"{self.photos} photos are left, descriptors of {self.dim} numbers: about {takes} at {self.rate:.1f} "
            f"photos a second with {workers}, measured on {self.measured}; {self.bytes / 1e9:.2f} GB on the disk, "
            f"where {free / 1e9:.2f} GB are free"
        )

    def check_room(self, output: Path) -> None:
        """Checks that the disk has room.

        Raises:
            OSError: it has not.
        """
        if self.bytes > free_bytes(output):
            raise OSError(f"The disk is too small for {self.text(output)}. Make room, or name another output")


def estimate(engine: Engine, source: PhotoSource, start: Cursor, done: int) -> Estimate:
    """Describes the first photos that are left, and forgets them again.

    Args:
        engine: that is going to do all of them.
        source: of them.
        start: where it goes on.
        done: photos before that.

    Raises:
        ValueError: none of the first has a descriptor.
    """
    block = engine.facts.block * engine.workers
    first = _Sample.of(engine, source, start, block)  # Makes graphs, opens connections.
    if first.reason and not first.dim:
        first = _Sample.of(engine, source, start, _BLOCKS * block)
    if first.seen and not first.dim:
        raise ValueError(
            f"Photos must have descriptors; none of the first {first.seen} has one. Received: {first.reason}"
        )
    sample = _Sample.of(engine, source, start, block)
    if sample.seen == block:
        blocks = min(_BLOCKS, int(SECONDS / max(sample.seconds, 1e-3)))
        sample = _Sample.of(engine, source, start, blocks * block) if blocks > 1 else sample
    photos = max(source.count() - done, sample.seen)
    return Estimate(photos, first.dim, sample.seen / max(sample.seconds, 1e-3), sample.seen, engine.workers)


@dataclass(frozen=True)
class _Sample:
    """Some photos that were described."""

    seen: int
    seconds: float
    dim: int
    reason: str

    @classmethod
    def of(cls, engine: Engine, source: PhotoSource, start: Cursor, count: int) -> Self:
        photos = (listed.photo for listed in islice(source.photos(start), count))
        begun = time.monotonic()
        described = [(len(one), one.descriptors.shape[1], one.left_out[:1]) for one in engine.describe(photos)]
        seconds = time.monotonic() - begun
        reasons = [f"{photo.uri[:200]}: {reason}" for _, _, left_out in described for photo, reason in left_out]
        dim = max((dim for _, dim, _ in described), default=0)
        return cls(sum(seen for seen, _, _ in described), seconds, dim, next(iter(reasons), ""))
