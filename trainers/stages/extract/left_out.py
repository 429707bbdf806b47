"""Photos that have no descriptor, in a table: `left_out.csv`."""

import csv
import logging
from itertools import islice
from pathlib import Path

from keras_sare.datasets.photo_sources.source_photo import SourcePhoto
from keras_sare.utils.files import atomic_path
from keras_sare.utils.text import printable

logger = logging.getLogger("keras_sare.extract")

FILE = "left_out.csv"
MOST_LINES = 100_000
"""Of the table; what is beyond is counted alone."""

_HEADER = ("shard", "id", "uri", "reason")
_LONGEST = 500
_LOGGED = 20
_LEAST_SEEN = 1000


class LeftOut:
    """Counts photos without a descriptor, and names them.

    Args:
        count: of earlier shards.
        seen: photos of earlier shards, with a descriptor and without.
        most_share: of all photos, that may be left out.

    Attributes:
        count: of all shards.
        seen: of all shards.
    """

    def __init__(self, count: int, seen: int, most_share: float) -> None:
        self.count = count
        self.seen = seen
        self._most_share = most_share
        self._lines: list[tuple[str, ...]] = []
        self._logged = 0

    def add(self, left_out: list[tuple[SourcePhoto, str]], seen: int, shard: int) -> None:
        """Takes note of what was left out of some photos.

        Args:
            left_out: with the reasons.
            seen: how many photos these were.
            shard: that they belong to.

        Raises:
            ValueError: there are too many by now; so far a thousand photos count as seen at least.
        """
        self.count += len(left_out)
        self.seen += seen
        for photo, reason in left_out:
            if self._logged < _LOGGED:
                self._logged += 1
                logger.warning("%s: %s", photo.uri[:_LONGEST], reason)
            if len(self._lines) < MOST_LINES:
                texts = (printable(text[:_LONGEST]) for text in (photo.name, photo.uri, reason))
                self._lines.append((str(shard), *texts))
        self._check(max(self.seen, _LEAST_SEEN))

    def check_all(self) -> None:
        """Checks the share when all photos have been seen.

        Raises:
            ValueError: too many are left out, or all.
        """
        self._check(self.seen)
        if self.count == self.seen:
            raise ValueError(f"Photos must have descriptors; all {self.count} were left out. {self._example()}")

    def write(self, folder: Path, earlier: Path, shard: int) -> None:
        """Writes the table.

        Args:
            folder: that it is put into.
            earlier: where the table of the earlier shards is.
            shard: whose lines were added; what an earlier start has written of it is replaced.
        """
        lines = [*islice(_read(earlier / FILE, shard), MOST_LINES)]
        with atomic_path(folder / FILE) as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_HEADER)
            writer.writerows([*lines, *self._lines][:MOST_LINES])
        self._lines.clear()

    def _check(self, seen: int) -> None:
        if self.count > self._most_share * seen:
            raise ValueError(
                f"{self.count} of {self.seen} photos cannot be used, at most {int(self._most_share * seen)} may be "
                "left out. Check the source, or raise `max_corrupt_share`; what was written stays. "
                f"{self._example()}"
            )

    def _example(self) -> str:
        shard, _, uri, reason = self._lines[-1] if self._lines else ("", "", "those of earlier shards", "see the table")
        return f"Received: max_corrupt_share={self._most_share:g}, such as {uri}: {reason}"


def _read(path: Path, shard: int) -> list[list[str]]:
    """Lines of the shards before one."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        lines = [*csv.reader(file)][1:]
    return [line for line in lines if len(line) == len(_HEADER) and line[0].isdecimal() and int(line[0]) < shard]
