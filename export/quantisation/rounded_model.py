"""A model whose large weights are rounded to a few bits so that its descriptors stay what they were."""

import logging
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from export.quantisation.gptq import gptq, nearest_on_grid
from export.quantisation.rounding_estimate import rounding_seconds
from keras_sare.layers import Whitening
from keras_sare.utils.progress import duration, progress

logger = logging.getLogger("keras_sare.export")

LARGE = 200_000
"""Elements of the weights that are rounded to 4 bits. Smaller ones are a tenth of the bytes, and what comes first in a
network does most harm."""

SMALL = 10_000
"""Elements of the weights that are not rounded to a grid at all."""

POSITIONS = 1024
"""Of each photo that a layer's inputs are sampled at."""


def rounded_model(model: keras.Model, photos: Iterable[np.ndarray]) -> tuple[keras.Model, dict[str, int]]:
    """Rounds convolutions by GPTQ, first to last, and the whitening at the end to the nearest values.

    Every convolution is rounded for the inputs that the rounded layers before it give. The whitening subtracts no mean
    any more: what the rounded matrix makes of the mean is in its bias.

    Args:
        model: images to descriptors. It stays as it is.
        photos: batches of images [batch, height, width, 3] to calibrate with, a few dozen of them; they are kept in
            memory.

    Returns:
        The rounded model, float32, its layers `renamed`; and the bits of each rounded layer by its name.

    Raises:
        ValueError: there are no photos.
    """
    kept = list(photos)
    if not kept:
        raise ValueError("`photos` must hold at least one batch to calibrate with. Received: none")
    rounded = renamed(model)
    layers = [layer for layer in rounded.layers if is_convolution(layer) and _bits(layer.kernel)]
    bits = {layer.name: _bits(layer.kernel) for layer in layers}
    seconds = rounding_seconds(rounded, layers, kept[0][:1], sum(map(len, kept)), POSITIONS)
    logger.info("Rounding %d layers: about %s", len(layers), duration(seconds))
    for layer in progress(layers, "rounding", len(layers), "layer"):
        moments = _second_moments(keras.Model(rounded.input, layer.input), layer, kept)
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        flat = gptq(kernel.reshape(-1, kernel.shape[-1]), moments, bits[layer.name])
        layer.kernel.assign(flat.reshape(kernel.shape))
    last = rounded.layers[-1]
    if isinstance(last, Whitening):
        bits[last.name] = _bits(last.projection) or 8
        rounded = _with_rounded_whitening(rounded, last, bits[last.name])
    return rounded, bits


def renamed(model: keras.Model) -> keras.Model:
    """Copies a model; its layers get names that a pattern can tell apart: layer0000x, layer0001x, ..."""
    names = {id(layer): f"layer{number:04d}x" for number, layer in enumerate(model.layers)}
    copy = keras.models.clone_model(
        model,
        clone_function=lambda layer: layer.__class__.from_config(layer.get_config() | {"name": names[id(layer)]}),
    )
    copy.set_weights(model.get_weights())
    return copy


def is_convolution(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a convolution whose kernel can be rounded."""
    return type(layer) is keras.layers.Conv2D and layer.groups == 1


def _bits(kernel: Any) -> int:
    """Of a weight: 4, 8, or 0 where it is not rounded."""
    size = int(np.prod(kernel.shape))
    return 4 if size >= LARGE else 8 if size >= SMALL else 0


def _second_moments(before: keras.Model, layer: keras.layers.Conv2D, photos: list[np.ndarray]) -> np.ndarray:
    """X^T X of what a convolution multiplies its kernel with, at a sample of positions."""
    size = int(np.prod(layer.kernel.shape[:-1]))
    total = tf.Variable(tf.zeros((size, size)))

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])
    def add(images: Any) -> None:
        inputs = sampled_patches(before(images, training=False), layer)
        total.assign_add(tf.matmul(inputs, inputs, transpose_a=True))

    for batch in photos:
        for photo in batch:  # One at a time: the patches of a photo are nine times its features.
            add(tf.constant(photo[None]))
    return total.numpy()


def sampled_patches(features: Any, layer: keras.layers.Conv2D) -> Any:
    """Some rows of `patches_of`, spread evenly."""
    patches = patches_of(features, layer)
    count = tf.shape(patches)[0]
    chosen = tf.minimum(count, POSITIONS)
    return tf.gather(patches, tf.range(chosen) * count // chosen)


def patches_of(features: Any, layer: keras.layers.Conv2D) -> Any:
    """[positions, kernel height * kernel width * channels], in the order of the kernel's elements."""
    patches = tf.image.extract_patches(
        features,
        (1, *layer.kernel_size, 1),
        (1, *layer.strides, 1),
        (1, *layer.dilation_rate, 1),
        layer.padding.upper(),
    )
    return tf.reshape(patches, (-1, int(np.prod(layer.kernel.shape[:-1]))))


def _with_rounded_whitening(model: keras.Model, whitening: Whitening, bits: int) -> keras.Model:
    projection = keras.ops.convert_to_numpy(whitening.projection)
    rounded = nearest_on_grid(projection, bits)
    bias = keras.ops.convert_to_numpy(whitening.bias).astype(np.float64)
    if not whitening.end_to_end:
        bias = bias - keras.ops.convert_to_numpy(whitening.mean).astype(np.float64) @ rounded
    # One that is trained end to end is y = x P + b: no mean that would have to be stored.
    layer = Whitening(whitening.dim, end_to_end=True, name=whitening.name)
    result = keras.Model(model.input, layer(whitening.input), name=model.name)
    layer.set_projection(rounded, bias.astype(np.float32))
    return result
