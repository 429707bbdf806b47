"""A Keras model behind the signatures of a SavedModel."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from export.quantisation.half_storage import HalfStored
from export.source import Source
from keras_sare.datasets import decode_batch, decode_single, name_errors, require_all
from keras_sare.datasets.images.pixel_limit import MAX_PIXELS
from keras_sare.layers import Whitening
from keras_sare.models import MultiScale, scale_power, split
from keras_sare.models.least_side import least_side

Extract = Callable[..., Any]
"""Images [batch, height, width, 3] to descriptors [batch, dim]."""

_NO_DESCRIPTOR = "the network gives no descriptor: a pixel may be no finite number"
_FILES = tf.TensorSpec([None], tf.string, name="image_bytes")


class EmbeddingModule(tf.Module):
    """A Keras model behind the signatures that `export.converters.saved_model` lists.

    A plain `tf.Module` that holds the variables, because Keras's own export (`model.export`) stores the weights twice.

    Args:
        source: the model, and the size that image files are resized to.
        whitening_dtype: that the matrix of the whitening at the model's end is stored in.
        scales: of the signature `multiscale`, or None.
        version: what the signature `metadata` tells.
        max_pixels: the most pixels (height times width) of an image file.

    Attributes:
        functions: the signatures by name.

    Raises:
        ValueError: the model has no whitening at its end that could be stored in half precision.
    """

    def __init__(
        self,
        source: Source,
        whitening_dtype: str = "float32",
        scales: Sequence[float] | None = None,
        version: int = 1,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__(name="embedding")
        variables = list(source.model.variables)
        as_stored = _unchanged
        if whitening_dtype != "float32":
            matrix = _last_whitening(source).projection
            self.matrix = HalfStored(matrix.value, whitening_dtype)
            as_stored = partial(_with_matrix, matrix, self.matrix)
            variables = [variable for variable in variables if variable is not matrix]
        # TensorFlow stores what the attributes hold, and they must not hold the matrix in both precisions.
        self.weights = [variable.value for variable in variables]
        extract = as_stored(source.model)
        decode = _decoder(source, max_pixels)
        least = least_side(source.model)
        tolerant = _tolerant(extract, decode, source, least)
        self.functions = {
            "serving_default": _strict(tolerant),
            "tolerant": tolerant,
            "images": _images(extract, least),
            "metadata": _metadata(source, version),
        }
        if scales is not None:
            multiscale = as_stored(at_scales(source.model, scales))
            least = math.ceil(least / min(*scales, 1.0))
            self.functions["multiscale"] = _strict(_tolerant(multiscale, decode, source, least))


def at_scales(model: keras.Model, scales: Sequence[float]) -> Extract:
    """`MultiScale` of what comes before a fitted whitening at the model's end, and then the whitening.

    Args:
        model: images to descriptors.
        scales: factors greater than 0.

    Returns:
        A function of images [batch, height, width, 3] to descriptors [batch, dim].
    """
    last = model.layers[-1]
    if not isinstance(last, Whitening) or last.end_to_end:
        return MultiScale(model, scales, scale_power(model))
    trunk, whiten = split(model, last.name)
    mean = MultiScale(trunk, scales, scale_power(trunk))
    return lambda images, training=False: whiten(mean(images, training=training), training=training)


def _last_whitening(source: Source) -> Whitening:
    last = source.model.layers[-1]
    if not isinstance(last, Whitening):
        raise ValueError(
            "`whitening_dtype` must be float32 for a model that does not end in a Whitening layer. "
            f"Received: {source.origin!r}, which ends in {last.name!r}, a {type(last).__name__}"
        )
    return last


def _unchanged(extract: Extract) -> Extract:
    return partial(extract, training=False)


def _with_matrix(variable: keras.Variable, matrix: HalfStored, extract: Extract) -> Extract:
    """Computes with `matrix` in place of the variable."""

    def with_matrix(images: Any) -> Any:
        with keras.StatelessScope([(variable, matrix())]):
            return extract(images, training=False)

    return with_matrix


def _images(extract: Extract, least: int) -> Any:
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, name="images")], autograph=False)
    def images(images: Any) -> dict[str, Any]:
        too_small = _too_small(tf.shape(images), least)
        with tf.control_dependencies([tf.debugging.Assert(too_small == "", ["images:", too_small])]):
            embedding = extract(images)
        errors = name_errors(tf.where(_is_unit(embedding), "", _NO_DESCRIPTOR))
        with tf.control_dependencies([require_all(errors)]):
            return {"embedding": tf.identity(embedding)}

    return images


def _too_small(shape: Any, least: int) -> Any:
    """Error of images of a shape [..., height, width, channels]; empty where they are large enough for the network."""
    height, width = tf.unstack(shape[-3:-1])
    text = tf.strings.join(
        [tf.strings.as_string(width), " x ", tf.strings.as_string(height), f", at least {least} pixels on each side"]
    )
    return tf.where(tf.minimum(height, width) < least, text, "")


def _is_unit(embedding: Any) -> Any:
    """Which rows are descriptors: neither zeros nor anything that is not a number."""
    return tf.abs(tf.norm(embedding, axis=-1) - 1.0) < 0.1


def _decoder(source: Source, max_pixels: int) -> Any:
    """Traced once for all signatures. A file to its image and error, or all files where images have one size."""
    how: dict[str, Any] = {"orientation": source.orientation, "antialias": source.antialias, "max_pixels": max_pixels}
    if isinstance(source.size, int):
        decode = partial(decode_single, size=source.size, **how)
        shape = []
    else:
        decode = partial(decode_batch, size=source.size, **how)
        shape = [None]
    return tf.function(decode, input_signature=[tf.TensorSpec(shape, tf.string)], autograph=False)


def _tolerant(extract: Extract, decode: Any, source: Source, least: int) -> Any:
    dim = source.dim

    def extract_one(contents: Any) -> tuple[Any, Any]:
        image, error = decode(contents)
        error = tf.where(error == "", _too_small(tf.shape(image), least), error)
        return tf.cond(error == "", lambda: extract(image[None])[0], lambda: tf.zeros([dim])), error

    def extract_all(image_bytes: Any) -> tuple[Any, Any]:
        if not isinstance(source.size, int):
            images, errors = decode(image_bytes)
            return extract(images), errors
        signature = (tf.TensorSpec([dim], tf.float32), tf.TensorSpec([], tf.string))
        # One image keeps a network busy, and each further one would take the memory of its activations.
        embedding, errors = tf.map_fn(extract_one, image_bytes, fn_output_signature=signature, parallel_iterations=1)
        return embedding, name_errors(errors)

    @tf.function(input_signature=[_FILES], autograph=False)
    def tolerant(image_bytes: Any) -> dict[str, Any]:
        embedding, errors = extract_all(image_bytes)
        missing = name_errors(tf.where(_is_unit(embedding), "", _NO_DESCRIPTOR))
        errors = tf.where(errors == "", missing, errors)
        return {"embedding": tf.where((errors == "")[:, None], embedding, tf.zeros([dim])), "error": errors}

    return tolerant


def _strict(tolerant: Any) -> Any:
    @tf.function(input_signature=[_FILES], autograph=False)
    def strict(image_bytes: Any) -> dict[str, Any]:
        outputs = tolerant(image_bytes)
        with tf.control_dependencies([require_all(outputs["error"])]):
            return {"embedding": tf.identity(outputs["embedding"])}

    return strict


def _metadata(source: Source, version: int) -> Any:
    size = [source.size] if isinstance(source.size, int) else list(source.size)

    @tf.function(input_signature=[], autograph=False)
    def metadata() -> dict[str, Any]:
        numbers = {"dimension": [source.dim], "version": [version], "size": size}
        values = {name: tf.constant(value, tf.int64) for name, value in numbers.items()}
        return {"name": tf.constant([source.name]), **values}

    return metadata
