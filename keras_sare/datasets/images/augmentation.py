"""Random changes of photos for training: colour, zoom, mirroring."""

import math
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from keras_sare.utils.arguments import plain_arguments

_MOST = {"brightness": math.inf, "contrast": math.inf, "saturation": math.inf, "hue": 0.5, "scale": 0.5}
_GREY = (0.2989, 0.587, 0.114)


@plain_arguments
@dataclass(frozen=True)
class Augmentation:
    """Changes a photo at random; the same seed always changes it in the same way.

    The changes come in a fixed order: flip, scale, brightness, contrast, saturation, hue. The colours follow
    torchvision's `ColorJitter`, whose order is random: a factor is uniform in [max(0, 1 - x), 1 + x] and every step is
    clipped to 0..255. An attribute of 0 leaves its property alone, and draws nothing that another depends on; with all
    at 0 the image comes out exactly as it went in.

    A mirrored photo shows a place that does not exist: `flip` serves categories better than places.

    Example:

        augmentation = Augmentation(brightness=0.2, contrast=0.2, scale=0.25)
        changed = augmentation(load_image("photo.jpg", (240, 320)), seed=(0, 1))

    Attributes:
        brightness: x of the factor of all values.
        contrast: x of the factor of the distance to the photo's mean grey.
        saturation: x of the factor of the distance to each pixel's grey.
        hue: turns of the colour circle, at most 0.5; the shift is uniform in [-hue, hue].
        scale: x of the zoom, at most 0.5, uniform in [1 - scale, 1 + scale]. Above 1 a random part of the photo fills
            the image; below 1 the shrunk photo lies at a random place of the image, mirrored at its borders.
        flip: mirror left and right, half of the photos.

    Raises:
        ValueError: an attribute is negative, not finite or too large.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    scale: float = 0.0
    flip: bool = False

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            value = getattr(self, name)
            if not (0 <= value <= most and math.isfinite(value)):
                expected = f"between 0 and {most:g}" if math.isfinite(most) else "at least 0, and finite"
                raise ValueError(f"`{name}` must be {expected}; 0 turns it off. Received: {name}={value}")

    def __call__(self, image: Any, seed: Any) -> Any:
        """Changes one image: eagerly, in `dataset.map` or in any other graph.

        Args:
            image: float32 [height, width, 3], RGB in 0..255.
            seed: int32 [2].

        Returns:
            float32 [height, width, 3], RGB in 0..255.
        """
        image = tf.convert_to_tensor(image, tf.float32)
        # Named, because the default is another generator on another device.
        draws = tf.random.stateless_uniform([8], seed, alg="philox")
        if self.flip:
            image = tf.raw_ops.Reverse(tensor=image, dims=tf.stack([False, draws[0] < 0.5, False]))
        if self.scale:
            image = _zoom(image, self.scale, 1 + self.scale * (2 * draws[1] - 1), draws[2:4])
        if self.brightness:
            image = _blend(image, 0.0, _factor(self.brightness, draws[4]))
        if self.contrast:
            image = _blend(image, tf.reduce_mean(_grey(image)), _factor(self.contrast, draws[5]))
        if self.saturation:
            image = _blend(image, _grey(image), _factor(self.saturation, draws[6]))
        if self.hue:
            image = _clip(tf.image.adjust_hue(image, self.hue * (2 * draws[7] - 1)))
        return image


def _factor(spread: float, draw: Any) -> Any:
    least = max(0.0, 1 - spread)
    return least + (1 + spread - least) * draw


def _grey(image: Any) -> Any:
    return tf.reduce_sum(image * _GREY, axis=-1, keepdims=True)


def _blend(image: Any, other: Any, factor: Any) -> Any:
    return _clip(factor * image + (1 - factor) * other)


def _clip(image: Any) -> Any:
    return tf.clip_by_value(image, 0.0, 255.0)


def _zoom(image: Any, scale: float, zoom: Any, place: Any) -> Any:
    """Resamples a window of 1 / `zoom` times the image's size, with antialiasing.

    Args:
        image: [height, width, 3].
        scale: `zoom` is at least 1 - scale.
        zoom: scalar.
        place: [2] in 0..1: where the window lies in the image; a window larger than it: where that lies in the window.
    """
    size = tf.shape(image)[:2]
    extent = tf.cast(size, tf.float32)
    # Padding for the largest window, which the smallest zoom makes; a scale of 0.5 mirrors the whole image.
    margin = tf.minimum(tf.cast(tf.math.ceil(extent * (scale / (1 - scale))), tf.int32), size)
    padded = tf.pad(image, [[margin[0], margin[0]], [margin[1], margin[1]], [0, 0]], "SYMMETRIC")
    start = place * (extent - extent / zoom) + tf.cast(margin, tf.float32)
    window = tf.raw_ops.ScaleAndTranslate(
        images=padded[None],
        size=size,
        scale=tf.stack([zoom, zoom]),
        translation=-start * zoom,
        kernel_type="triangle",
        antialias=True,
    )
    return tf.ensure_shape(_clip(window[0]), image.shape)
