"""SavedModels for TensorFlow Serving and `python -m serving`.

The version folder holds preprocessing, network and whitening, with these signatures. Every image is looked at by
itself: batches may be put together and taken apart, as servers that batch do.

    serving_default   `image_bytes` string [n], files in JPEG, PNG, WebP or GIF, each of its own size, turned upright
                      (not so where the run took pixels as they are stored) and resized as in the run's evaluation ->
                      `embedding` float32 [n, dim], rows of norm 1. A file that cannot be decoded fails the request
                      with INVALID_ARGUMENT; the text names all such files by their index, with the reason.
    tolerant          the same, and `error` string [n], empty where all is well: a file that cannot be decoded gets its
                      text there and zeros as its embedding, and the others get theirs.
    images            `images` float32 [n, height, width, 3], RGB in 0..255, used as they are -> `embedding`
    multiscale        on request: as serving_default, with `keras_sare.models.MultiScale`
    metadata          nothing -> `name` string [1], `dimension` int64 [1], `version` int64 [1], `size` int64 [1 or 2]:
                      the limit of the longer side (or the shorter side, where the manifest says so), or height and
                      width. TensorFlow Serving with --enable_batching
                      answers where some of these are asked for by `output_filter`, not for all: it would batch those.

A server that batches puts requests of several clients together, and one client's damaged file then fails the others'
requests too, by an index that counts all files of the batch: let clients call `tolerant` there.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from export.converters.embedding_module import EmbeddingModule
from export.converters.saved_model_check import smallest_cosine
from export.converters.warmup import write_warmup
from export.quantisation.half_storage import DTYPES
from export.source import Source
from keras_sare.datasets.images.pixel_limit import MAX_PIXELS, check_max_pixels

logger = logging.getLogger("keras_sare.export")

MIN_COSINE = 0.9999
MIN_COSINE_OF_HALF = 0.99

_ADVICE = (
    "Untrained weights may give feature maps so small that rounding shows: load trained ones. Otherwise please report "
    "this as a bug."
)


@dataclass(frozen=True)
class SavedModelOptions:
    """How a SavedModel is written.

    Attributes:
        whitening_dtype: that the matrix of the whitening at the model's end is stored in: "float32", "float16" or
            "bfloat16". It is float32 again once loaded, so half precision saves disk, not memory or time.
        scales: factors of the signature `multiscale`, for example `keras_sare.models.SCALES["multi"]`; None leaves it
            out.
        warmup: whether requests to warm a server up lie in the folder.
        version: what the signature `metadata` tells.
        max_pixels: the most pixels (height times width) of an image file; a larger one is refused undecoded.
    """

    whitening_dtype: str = "float32"
    scales: tuple[float, ...] | None = None
    warmup: bool = True
    version: int = 1
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        check_max_pixels(self.max_pixels)
        if self.whitening_dtype not in ("float32", *DTYPES):
            raise ValueError(
                f"`whitening_dtype` must be float32, {' or '.join(DTYPES)}. "
                f"Received: whitening_dtype={self.whitening_dtype!r}"
            )


def write_saved_model(source: Source, folder: Path, options: SavedModelOptions) -> None:
    """Writes a version folder, loads it again and compares all signatures with the Keras model.

    Args:
        source: the model.
        folder: to be made.
        options: how.

    Raises:
        ValueError: the model has no whitening at its end that could be stored in half precision.
        RuntimeError: the signatures of the folder written do not agree with the model.
        ImportError: the package that warm-up requests need is missing.
    """
    module = EmbeddingModule(source, options.whitening_dtype, options.scales, options.version, options.max_pixels)
    tf.saved_model.save(module, str(folder), signatures=module.functions)
    if options.warmup:
        write_warmup(folder, source.size, [name for name in module.functions if name != "metadata"])
    required = MIN_COSINE if options.whitening_dtype == "float32" else MIN_COSINE_OF_HALF
    cosine = smallest_cosine(folder, source, options.scales)
    if not cosine >= required:
        raise RuntimeError(
            f"The reloaded SavedModel must agree with the Keras model to a cosine of {required}. "
            f"Received: cosine={cosine:.6f}, whitening_dtype={options.whitening_dtype!r}. "
            + (_ADVICE if options.whitening_dtype == "float32" else "Store it in float32.")
        )
    logger.info("The SavedModel agrees with the Keras model to a cosine of %.6f", cosine)
