"""Conv-AP: 1x1 convolution and adaptive average pooling."""

from typing import Any

import keras
from keras import ops

from keras_sare.layers.normalize import l2_normalize
from keras_sare.layers.pooling import FeatureMapPooling
from keras_sare.utils.arguments import plain_arguments


@keras.saving.register_keras_serializable(package="keras_sare")
class ConvAP(FeatureMapPooling):
    """Projects the channels of a feature map, averages them in s1 x s2 bins and L2-normalises.

    Bin i of s along a side of n positions reaches from floor(i n / s) to ceil((i + 1) n / s), as in PyTorch's
    `AdaptiveAvgPool2d`: bins cover maps of any size, also smaller ones than s1 x s2, and overlap where n is no multiple
    of s. A mean commutes with the projection, so the bins are averaged first, which is less work than the original's
    order for the same result. All of it is computed in float32 under mixed precision.

    Weights: `projection` is the original's `channel_pool`, its kernel [input channels, channels] the transposed weight
    of that 1x1 convolution.

    Reference: Ali-bey, Chaib-draa, Giguere, "GSV-Cities: Toward Appropriate Supervised Visual Place Recognition",
    Neurocomputing 2022.

    Args:
        channels: output channels.
        s1: bins along the height.
        s2: bins along the width.
        **kwargs: of `keras.layers.Layer`.

    Input shape: `[batch, height, width, input channels]`, any floating dtype.

    Output shape: `[batch, channels * s1 * s2]`, float32 (float64 for a float64 policy), each row of norm 1. Element
    `(c * s1 + i) * s2 + j` belongs to channel `c` and bin `i, j`.

    Example:

    >>> descriptor = ConvAP()(features)  # features [8, 10, 10, 2048] -> [8, 4096]
    """

    @plain_arguments
    def __init__(self, channels: int = 1024, s1: int = 2, s2: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, value in (("channels", channels), ("s1", s1), ("s2", s2)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {name}={value}")
        self.channels = channels
        self.s1 = s1
        self.s2 = s2
        self.projection = keras.layers.Dense(channels, dtype=self.precision, name="projection")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self.projection.build((None, self.s1, self.s2, input_shape[-1]))

    def descriptor_length(self, channels: int) -> int:
        return self.channels * self.s1 * self.s2

    def descriptor_dtype(self, dtype: str) -> str:
        return self.precision

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        x = ops.cast(inputs, self.precision)
        _, height, width, _ = ops.shape(x)
        x = ops.einsum("ph,bhwc->bpwc", _bin_means(height, self.s1, x.dtype), x)
        x = ops.einsum("qw,bpwc->bpqc", _bin_means(width, self.s2, x.dtype), x)
        x = ops.transpose(self.projection(x), (0, 3, 1, 2))
        return l2_normalize(ops.reshape(x, (-1, self.descriptor_length(self.channels))))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels, "s1": self.s1, "s2": self.s2}


def _bin_means(length: Any, bins: int, dtype: str) -> keras.KerasTensor:
    """Weights [bins, length] that average each bin. `length` may be known only in the graph."""
    first = ops.expand_dims(ops.arange(bins), 1)
    start = first * length // bins
    end = ((first + 1) * length + bins - 1) // bins
    position = ops.arange(length)
    inside = ops.logical_and(position >= start, position < end)
    return ops.cast(inside, dtype) / ops.cast(end - start, dtype)
