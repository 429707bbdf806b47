"""Photos on their way from a source to an engine."""

from collections import deque
from collections.abc import Iterator

from keras_sare.datasets.photo_sources.photo_source import Cursor, Listed
from keras_sare.datasets.photo_sources.source_photo import SourcePhoto


class TakenPhotos:
    """The photos of a source, which an engine takes ahead of what it has described.

    Args:
        listed: of the source.
        shard: photos of each.

    Attributes:
        ends: where the source goes on after each shard that was taken whole, and after the last photo.
    """

    def __init__(self, listed: Iterator[Listed], shard: int) -> None:
        self._listed = listed
        self._shard = shard
        self.ends: deque[Cursor] = deque()

    def __iter__(self) -> Iterator[SourcePhoto]:
        count = 0
        after: Cursor = ()
        for photo, after in self._listed:  # noqa: B007
            count += 1
            if count % self._shard == 0:
                self.ends.append(after)
            yield photo
        if count % self._shard:
            self.ends.append(after)
