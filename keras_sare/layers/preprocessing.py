"""The preprocessing that a set of weights was trained with, as a layer."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_sare.utils.arguments import plain_arguments


@keras.saving.register_keras_serializable(package="keras_sare")
class ImagePreprocessing(keras.layers.Layer):
    """Turns RGB images in 0..255 into what the weights want: channel order, then minus mean, over std.

    Preprocessing belongs to the weights: images that are prepared for other weights give plausible but bad descriptors.
    So the model carries it, and everything outside the model deals in plain RGB.

    Args:
        mean: three values, in the unit 0..255 and in the output's channel order.
        std: three values, likewise.
        bgr: whether the weights want BGR.
        antialias: whether images are to be antialiased where they are made smaller for these weights. The layer does
            not resize: what reads image files for a model asks `keras_sare.models.antialiases`, and does so.
        **kwargs: of `keras.layers.Layer`.

    Input shape: `[batch, height, width, 3]`, RGB in 0..255, uint8 or floating.

    Output shape: the same, in the layer's compute dtype.
    """

    @plain_arguments
    def __init__(
        self, mean: Sequence[float], std: Sequence[float], bgr: bool = False, antialias: bool = True, **kwargs: Any
    ) -> None:
        # Pixels that Keras cast to half precision would be rounded before the mean is subtracted.
        super().__init__(autocast=False, **kwargs)
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != 3:
                raise ValueError(f"`{name}` must have three values. Received: {name}={values}")
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.bgr = bgr
        self.antialias = antialias

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        x = ops.cast(inputs, "float32")
        if self.bgr:
            x = ops.flip(x, axis=-1)
        x = (x - ops.convert_to_tensor(self.mean, "float32")) / ops.convert_to_tensor(self.std, "float32")
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"mean": self.mean, "std": self.std, "bgr": self.bgr, "antialias": self.antialias}
        return {**super().get_config(), **own}
