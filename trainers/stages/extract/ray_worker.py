"""A Ray actor that has the model."""

from collections.abc import Sequence

from keras_sare.datasets.photo_sources.source_photo import SourcePhoto
from keras_sare.extraction.photo_blocks.block_extractor import BlockExtractor, DescribedPhotos
from trainers.config import ExtractConfig
from trainers.stages.extract.engine import ModelFacts


def cores_of(config: ExtractConfig) -> int:
    """Processor cores of each worker."""
    return config.cpus_per_worker or 1


class Worker:
    """Opens the model once, and describes photos as `LocalEngine` does.

    Args:
        config: of the extraction.
        kind: of its source's positions.
    """

    def __init__(self, config: ExtractConfig, kind: str) -> None:
        self._config = config
        self._kind = kind
        self._extractor: BlockExtractor | None = None

    def open(self) -> ModelFacts:
        """Opens the model, and tells what is recorded of it; not when it starts, whose errors Ray tells as its own.

        Raises:
            ValueError: as of `block_extractor`, and so on.
        """
        import tensorflow as tf

        from keras_sare.datasets import set_max_pixels
        from trainers.stages.extract.local import block_extractor, compute_with

        compute_with(cores_of(self._config))
        if not self._config.gpus_per_worker:
            tf.config.set_visible_devices([], "GPU")
        for device in tf.config.get_visible_devices("GPU"):  # Which another worker may share.
            tf.config.experimental.set_memory_growth(device, True)
        set_max_pixels(self._config.max_pixels)
        self._extractor = block_extractor(self._config, self._kind)
        return ModelFacts.of(self._extractor.model)

    def describe(self, photos: Sequence[SourcePhoto]) -> list[DescribedPhotos]:
        """Describes photos, which begin with a block.

        Raises:
            RuntimeError: the model is not open, or fails.
        """
        if self._extractor is None:
            raise RuntimeError("`open` must be called first")
        return [*self._extractor(photos)]
