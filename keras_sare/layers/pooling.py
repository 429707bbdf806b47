"""What all poolings of feature maps have in common."""

from typing import Any

import keras


class FeatureMapPooling(keras.layers.Layer):
    """Base of the layers that turn a feature map of any size into one descriptor of norm 1.

    The inputs are not cast to the compute dtype: under mixed precision a subclass takes half-precision maps and casts
    them to float32 where it sums or normalises.

    Args:
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if len(input_shape) != 4 or input_shape[-1] is None:
            raise ValueError(
                f"`{type(self).__name__}` expects feature maps [batch, height, width, channels] with a known number of "
                f"channels. Received: input_shape={tuple(input_shape)}"
            )
