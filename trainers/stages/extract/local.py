"""The engine that is this process."""

from collections.abc import Iterable, Iterator
from typing import Self

from keras_sare.datasets.photo_sources.source_photo import SourcePhoto
from keras_sare.extraction.photo_blocks.block_extractor import BlockExtractor, DescribedPhotos
from trainers.config import ExtractConfig
from trainers.stages.extract.engine import ModelFacts
from trainers.stages.extract.models import open_block_model


def block_extractor(config: ExtractConfig, kind: str) -> BlockExtractor:
    """Opens the model, and what describes blocks with it: the same in every engine.

    Args:
        config: of the extraction.
        kind: of its source's positions.
    """
    model = open_block_model(config)
    return BlockExtractor(model, kind, 1e9 * config.memory_gb, 1_000_000 * config.max_file_mb, config.readers)


def compute_with(cores: int) -> None:
    """Lets TensorFlow compute with so many cores of the processor.

    Raises:
        RuntimeError: it has begun to compute, with others.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(cores)
    tf.config.threading.set_inter_op_parallelism_threads(cores)


class LocalEngine:
    """See `Engine`.

    Args:
        config: of the extraction.
        kind: of its source's positions.
    """

    workers = 1

    def __init__(self, config: ExtractConfig, kind: str) -> None:
        if config.cpus_per_worker is not None:
            compute_with(config.cpus_per_worker)
        self._extractor = block_extractor(config, kind)
        self.facts = ModelFacts.of(self._extractor.model)

    def describe(self, photos: Iterable[SourcePhoto]) -> Iterator[DescribedPhotos]:
        """See `Engine.describe`."""
        return self._extractor(photos)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass
