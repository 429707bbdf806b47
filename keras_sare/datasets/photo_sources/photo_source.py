"""What can be asked of every source of photos."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from keras_sare.datasets.photo_sources.source_photo import SourcePhoto

Cursor = Sequence[int | str]
"""Where a source was left: what JSON can hold; empty at its start."""


class Listed(NamedTuple):
    """A photo, and where its source goes on after it."""

    photo: SourcePhoto
    after: Cursor


class PhotoSource(Protocol):
    """Photos in an order that is always the same. Few of them are in memory at a time, however many there are.

    Attributes:
        kind: of their positions: "degrees" or "metres".
    """

    kind: str

    def photos(self, start: Cursor = ()) -> Iterator[Listed]:
        """The photos from `start` on, which is what came with the photo before them."""

    def count(self) -> int:
        """How many there are; of tar files an estimate."""

    def state(self) -> dict[str, Any]:
        """What tells whether it is still the same source, as JSON: sizes and numbers of rows, never the photos."""

    def check_names(self, memory: float) -> None:
        """Checks that no two photos have one name, before hours are spent on them.

        Args:
            memory: bytes that this may take; with less it reads the names more often.

        Raises:
            ValueError: two have.
        """
