"""MAC: maximum activations of convolutions."""

from typing import Any

import keras
from keras import ops

from keras_sare.layers.normalize import at_least_float32, l2_normalize


@keras.saving.register_keras_serializable(package="keras_sare")
class MAC(keras.layers.Layer):
    """Global maximum of every channel, L2-normalised.

    A compact descriptor (512-D for VGG16) for images of any size. The maximum is taken of activations after the ReLU.

    Reference: Radenovic, Tolias, Chum, "CNN Image Retrieval Learns from BoW", ECCV 2016, section 3.1.

    Args:
        **kwargs: of `keras.layers.Layer`.

    Input shape: `[batch, height, width, channels]`, any floating dtype.

    Output shape: `[batch, channels]`, float32 (float64 for float64 input), each row of norm 1.

    Example:

    >>> descriptor = MAC()(features)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if len(input_shape) != 4:
            raise ValueError(
                "`MAC` expects feature maps [batch, height, width, channels]. "
                f"Received: input_shape={tuple(input_shape)}"
            )

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return l2_normalize(at_least_float32(ops.max(inputs, axis=(1, 2))))
