"""Models of all kinds as what describes the bytes of photos."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from export.fidelity.runtime import Runtime
from export.localise import read_photo
from export.reading import Reading
from keras_sare.datasets.images.pixel_limit import pixel_limit
from keras_sare.extraction import Extractor
from keras_sare.extraction.extractor import check_outputs
from keras_sare.extraction.photo_blocks.block_model import BlockModel
from keras_sare.extraction.photo_blocks.pixel_model import PixelModel, pixel_decoder
from keras_sare.extraction.photo_blocks.unusable import UnusablePhotoError
from keras_sare.localization.photo_models import SavedModel
from keras_sare.utils.error_text import one_line
from serving.descriptors.artefacts import Artefact
from serving.descriptors.endpoints import SCHEME
from serving.descriptors.keras_models import KerasModel
from serving.descriptors.open_models import open_model
from serving.descriptors.stored import SUFFIXES
from trainers.config import ExtractConfig

_MEGABYTE = 1_000_000


def open_block_model(config: ExtractConfig) -> BlockModel:
    """Opens the model of an extraction.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: it is damaged, of another kind, or nothing says how images are read for it.
        RuntimeError: it cannot be run.
    """
    elsewhere = config.model.startswith(SCHEME) or config.model.endswith(SUFFIXES)
    model = None if elsewhere else open_model(config.model, config.image_size, config.orientation)
    if isinstance(model, KerasModel) and model.reading is not None:
        return _of_pixels(model, model.reading, _decoder(model.reading), _described_by(model.extractor), config.batch)
    if isinstance(model, Artefact) and model.kind == "saved_model":
        return ModelOfFiles(model, config.batch, config.max_file_mb * _MEGABYTE)
    if isinstance(model, Artefact) and model.reading is not None:
        runtime = Runtime(model.kind, model.path)
        return _of_pixels(model, model.reading, _pillow_decoder(model.reading), _checked(runtime.extract), config.batch)
    raise ValueError(
        "`model` must be a .keras file, the folder of a run, a SavedModel, or a .tflite or .onnx file: it is loaded "
        f"where the photos are described. Received: {config.model!r}"
    )


class ModelOfFiles:
    """A `BlockModel` that decodes files itself.

    Args:
        model: a SavedModel.
        batch: files at a time.
        max_bytes: that a file may have.
    """

    def __init__(self, model: Artefact, batch: int, max_bytes: int) -> None:
        self.identity = model.identity
        self.name = model.name
        self.preprocessing: dict[str, Any] | None = None
        self.block = batch
        self.item_bytes = max_bytes
        self._loaded = SavedModel(model.path)

    def prepare(self, contents: bytes) -> bytes:
        """See `BlockModel.prepare`."""
        return contents

    def describe(self, items: Sequence[bytes]) -> tuple[np.ndarray, list[str]]:
        """See `BlockModel.describe`."""
        return self._loaded.extract(items)


def _of_pixels(
    model: KerasModel | Artefact,
    reading: Reading,
    decode: Callable[[bytes], np.ndarray],
    describe: Callable[[np.ndarray], np.ndarray],
    batch: int,
) -> PixelModel:
    return PixelModel(model.name, model.identity, reading.arguments(), decode, describe, reading.size, batch)


def _decoder(reading: Reading) -> Callable[[bytes], np.ndarray]:
    return pixel_decoder(reading.size, reading.orientation, reading.antialias)


def _pillow_decoder(reading: Reading) -> Callable[[bytes], np.ndarray]:
    """As a device reads photos for the artefact."""
    how = reading.arguments()

    def decode(contents: bytes) -> np.ndarray:
        try:
            return read_photo(contents, max_pixels=pixel_limit(), **how)[0]
        except Exception as error:  # Of damaged files Pillow raises what it likes.
            raise UnusablePhotoError(one_line(error)) from error

    return decode


def _described_by(extractor: Extractor) -> Callable[[np.ndarray], np.ndarray]:
    return lambda images: extractor.describe(np.arange(len(images)), images)


def _checked(extract: Callable[[Any], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    def describe(images: np.ndarray) -> np.ndarray:
        descriptors = extract(images)
        check_outputs(np.arange(len(images)), descriptors)
        return descriptors

    return describe
