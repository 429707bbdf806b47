"""Descriptors of an image at several scales, made into one."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_sare.layers import GeM, Whitening
from keras_sare.layers.normalize import l2_normalize
from keras_sare.utils.arguments import plain_arguments

SCALES: dict[str, tuple[float, ...]] = {
    "single": (1.0,),
    # cirtorch's README for networks without a projection of their own.
    "multi": (1.0, 2**-0.5, 0.5),
    # And for those that were trained with one ("-gem-w").
    "whitened": (1.0, 2**0.5, 2**-0.5),
}
"""Sets of scales by name."""

SMALLEST_SIDE = 64
"""Pixels that shrinking leaves of each side of an image; siaMAC pads smaller ones to 67."""


@plain_arguments
class MultiScale:
    """The generalised mean of the descriptors of an image at several scales, L2-normalised.

    For descriptors `v_s` of the image resized by the factors `s` it computes, entry by entry,

        l2(mean_s(v_s^power)^(1/power))

    Images are resized bilinearly to the whole number of pixels below, without antialiasing, as in cirtorch, whose
    published whitenings were learned that way. A factor below 1 is raised where a side would fall below 64 pixels, so
    that networks with many poolings have something left to pool; an image that is smaller itself is not shrunk.

    It is called like a model, so that `Extractor` takes it. Whitening that was fitted on arrays belongs after it, not
    into the model: the published code averages first and whitens then.

    Reference: Radenovic, Tolias, Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2019,
    section 5.2; cirtorch, `extract_ms`.

    Args:
        model: gives descriptors [batch, dim] of images [batch, height, width, 3] of any size, or of a tuple of images
            and whatever else it takes, which is passed on as it is.
        scales: factors greater than 0, for example `SCALES["multi"]`.
        power: exponent of the mean, greater than 0; `scale_power` gives the published code's. One other than 1 needs
            descriptors without negative entries.

    Raises:
        ValueError: no scale, or a scale or the power is not positive.
    """

    def __init__(self, model: Any, scales: Sequence[float] = SCALES["multi"], power: float = 1.0) -> None:
        if not scales or not all(scale > 0 for scale in scales):
            raise ValueError(f"`scales` must be one or more factors greater than 0. Received: scales={scales}")
        if not power > 0:
            raise ValueError(f"`power` must be greater than 0. Received: power={power}")
        self.model = model
        self.scales = tuple(scales)
        self.power = power

    @property
    def output(self) -> Any:
        """That of the model."""
        return self.model.output

    def __call__(self, inputs: Any, training: bool = False) -> Any:
        """Describes images.

        Args:
            inputs: images [batch, height, width, 3], or a tuple that starts with them.
            training: passed on to the model.

        Returns:
            [batch, dim], each row of norm 1.

        Raises:
            tf.errors.InvalidArgumentError: an entry is negative and `power` is not 1.
        """
        at_scales = [self._powered(self.model(resized(inputs, scale), training=training)) for scale in self.scales]
        return l2_normalize((tf.add_n(at_scales) / len(self.scales)) ** (1 / self.power))

    def _powered(self, descriptors: Any) -> Any:
        if self.power == 1:
            return descriptors
        negative = "`power` must be 1 for descriptors with negative entries."
        with tf.control_dependencies([tf.debugging.assert_non_negative(descriptors, negative)]):
            return descriptors**self.power


def scale_power(model: keras.Model) -> float:
    """The power of cirtorch's mean over scales: the exponent of GeM where nothing projects it, else 1."""
    whitened = any(isinstance(layer, Whitening) for layer in model.layers)
    exponents = [layer.exponent for layer in model.layers if isinstance(layer, GeM) and not layer.per_channel]
    return float(exponents[0][0]) if exponents and not whitened else 1.0


def resized(inputs: Any, scale: float) -> Any:
    """Resizes images as `MultiScale` does.

    Args:
        inputs: images [batch, height, width, 3], or a tuple that starts with them.
        scale: factor greater than 0.

    Returns:
        float32 images, or the tuple with them; `inputs` where `scale` is 1.
    """
    if scale == 1:
        return inputs
    if isinstance(inputs, tuple):
        return resized(inputs[0], scale), *inputs[1:]
    sides = tf.cast(tf.shape(inputs)[1:3], tf.float64)
    smallest = tf.minimum(sides, SMALLEST_SIDE)
    factor = tf.maximum(tf.cast(scale, tf.float64), tf.reduce_max(smallest / sides))
    size = tf.maximum(tf.floor(sides * factor), smallest)
    return tf.image.resize(inputs, tf.cast(size, tf.int32), method="bilinear", antialias=False)
