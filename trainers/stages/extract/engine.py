"""What describes photos: this process, or many."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self

from keras_sare.datasets.photo_sources.source_photo import SourcePhoto
from keras_sare.extraction.photo_blocks.block_extractor import DescribedPhotos
from keras_sare.extraction.photo_blocks.block_model import BlockModel


@dataclass(frozen=True)
class ModelFacts:
    """What an extraction records of its model; see `BlockModel`."""

    identity: str
    name: str
    preprocessing: dict[str, Any] | None
    block: int

    @classmethod
    def of(cls, model: BlockModel) -> Self:
        """Takes them of a model."""
        return cls(model.identity, model.name, model.preprocessing, model.block)


class Engine(Protocol):
    """Describes photos in the order of their source; to be used as a context.

    Attributes:
        facts: of the model.
        workers: that describe at the same time.
    """

    facts: ModelFacts

    @property
    def workers(self) -> int:
        """That describe at the same time."""

    def describe(self, photos: Iterable[SourcePhoto]) -> Iterator[DescribedPhotos]:
        """Describes photos, which are taken as they are needed."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
