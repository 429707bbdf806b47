"""Whether a SavedModel does what the Keras model does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from export.converters.embedding_module import at_scales
from export.quantisation.sample_photos import sample_photo
from export.source import Source
from keras_sare.datasets import decode_image

_DAMAGED = b"no image"


def smallest_cosine(folder: Path, source: Source, scales: Sequence[float] | None = None) -> float:
    """Loads a SavedModel and compares the descriptors of all its signatures with the Keras model's.

    Args:
        folder: the SavedModel, with the signatures of `export.converters.saved_model`.
        source: what it was made of.
        scales: of its signature `multiscale`, where it has one.

    Returns:
        The smallest cosine, over photos of several shapes and formats and over all signatures.

    Raises:
        RuntimeError: `tolerant` does not tell the damaged file from the others.
    """
    # Held until the end: its signatures do not hold the variables.
    return smallest_cosine_of(tf.saved_model.load(str(folder)), source, scales)


def smallest_cosine_of(model: Any, source: Source, scales: Sequence[float] | None = None) -> float:
    """Does for a SavedModel that is loaded what `smallest_cosine` does for a folder."""
    size = source.size
    last = (size, size) if isinstance(size, int) else size
    files = [sample_photo(1, (90, 120)), sample_photo(2, (150, 80), "PNG"), sample_photo(3, last, "WEBP")]
    how = size, None, source.orientation, source.antialias
    pixels = [decode_image(tf.constant(file), *how)[None] for file in files]
    expected = _extracted(source.model, pixels)

    def run(signature: str, contents: Sequence[bytes]) -> dict[str, Any]:
        return model.signatures[signature](image_bytes=tf.constant(contents))

    tolerant = run("tolerant", [files[0], _DAMAGED, *files[1:]])
    _check_errors(tolerant["error"].numpy())
    images = [model.signatures["images"](images=one)["embedding"] for one in pixels]
    cosines = [
        _cosines(run("serving_default", files)["embedding"], expected),
        _cosines(np.delete(tolerant["embedding"], 1, axis=0), expected),
        _cosines(tf.concat(images, 0), expected),
    ]
    if scales is not None:
        expected = _extracted(at_scales(source.model, scales), pixels)
        cosines.append(_cosines(run("multiscale", files)["embedding"], expected))
    return float(np.min(cosines))


def _extracted(extract: Any, pixels: Sequence[Any]) -> np.ndarray:
    return np.concatenate([keras.ops.convert_to_numpy(extract(one, training=False)) for one in pixels])


def _cosines(embeddings: Any, expected: np.ndarray) -> np.ndarray:
    return np.sum(np.asarray(embeddings) * expected, axis=1)


def _check_errors(errors: np.ndarray) -> None:
    bad = np.flatnonzero(errors != b"").tolist()
    if bad != [1]:
        raise RuntimeError(
            "The signature `tolerant` of the reloaded SavedModel must find the one file that is damaged, number 1. "
            f"Received: errors for {bad}. Please report this as a bug."
        )
