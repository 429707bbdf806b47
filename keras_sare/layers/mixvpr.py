"""MixVPR: feature mixing for visual place recognition."""

from typing import Any

import keras
from keras import ops

from keras_sare.layers.normalize import l2_normalize
from keras_sare.layers.pooling import FeatureMapPooling
from keras_sare.utils.arguments import plain_arguments


@keras.saving.register_keras_serializable(package="keras_sare")
class MixVPR(FeatureMapPooling):
    """Mixes all positions of every channel by small MLPs, projects channels and positions, L2-normalises.

    Every channel of the map, flattened row by row, is a vector of height x width tokens. `depth` feature mixers update
    it, `x + W2 relu(W1 norm(x))` with `norm` a layer normalisation; then a dense layer projects the channels to
    `channels` and another the tokens to `rows`.

    The dense layers fix the number of tokens. A map of another size is resized to `tokens` first, bilinearly, with
    antialiasing where it shrinks; at the native size, 320x320 images for the published models, nothing is changed and
    the layer is the original. All of it is computed in float32 under mixed precision.

    Weights in order, with the original's names; a dense kernel is the transposed weight there:

        mixers[i].norm, .expand, .contract    mix.i.mix.0, .1, .3
        channel_projection                    channel_proj
        row_projection                        row_proj

    Reference: Ali-bey, Chaib-draa, Giguere, "MixVPR: Feature Mixing for Visual Place Recognition", WACV 2023, section
    3.

    Args:
        tokens: height and width of the map that is mixed.
        depth: number of feature mixers.
        mlp_ratio: width of a mixer's hidden layer, in tokens.
        channels: output channels.
        rows: output rows of each channel.
        **kwargs: of `keras.layers.Layer`.

    Input shape: `[batch, height, width, input channels]`, any floating dtype.

    Output shape: `[batch, channels * rows]`, float32 (float64 for a float64 policy), each row of norm 1. Element
    `c * rows + r` belongs to channel `c` and row `r`.

    Example:

    >>> descriptor = MixVPR()(features)  # features [8, 20, 20, 1024] -> [8, 4096]
    """

    @plain_arguments
    def __init__(
        self,
        tokens: tuple[int, int] = (20, 20),
        depth: int = 4,
        mlp_ratio: float = 1,
        channels: int = 1024,
        rows: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if len(tokens) != 2 or min(tokens) < 1:
            raise ValueError(f"`tokens` must be a height and a width of at least 1. Received: tokens={tokens}")
        for name, value in (("depth", depth), ("channels", channels), ("rows", rows)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {name}={value}")
        count = tokens[0] * tokens[1]
        hidden = int(count * mlp_ratio)
        if hidden < 1:
            raise ValueError(
                f"`mlp_ratio` must leave at least one of {count} tokens in the hidden layer. "
                f"Received: mlp_ratio={mlp_ratio}"
            )
        self.tokens = tuple(tokens)
        self.depth = depth
        self.mlp_ratio = mlp_ratio
        self.channels = channels
        self.rows = rows
        self.mixers = [
            _FeatureMixer(count, hidden, dtype=self.precision, name=f"mixer_{index}") for index in range(depth)
        ]
        self.channel_projection = keras.layers.Dense(channels, dtype=self.precision, name="channel_projection")
        self.row_projection = keras.layers.Dense(rows, dtype=self.precision, name="row_projection")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        channels = input_shape[-1]
        count = self.tokens[0] * self.tokens[1]
        for mixer in self.mixers:
            mixer.build((None, channels, count))
        self.channel_projection.build((None, count, channels))
        self.row_projection.build((None, self.channels, count))

    def descriptor_length(self, channels: int) -> int:
        return self.channels * self.rows

    def descriptor_dtype(self, dtype: str) -> str:
        return self.precision

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        x = ops.cast(inputs, self.precision)
        if tuple(x.shape[1:3]) != self.tokens:
            _, height, width, _ = ops.shape(x)
            x = ops.einsum("ph,bhwc->bpwc", resize_matrix(height, self.tokens[0], x.dtype), x)
            x = ops.einsum("qw,bpwc->bpqc", resize_matrix(width, self.tokens[1], x.dtype), x)
        x = ops.reshape(x, (-1, self.tokens[0] * self.tokens[1], x.shape[-1]))
        x = ops.transpose(x, (0, 2, 1))
        for mixer in self.mixers:
            x = mixer(x)
        x = self.channel_projection(ops.transpose(x, (0, 2, 1)))
        x = self.row_projection(ops.transpose(x, (0, 2, 1)))
        return l2_normalize(ops.reshape(x, (-1, self.channels * self.rows)))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "tokens": self.tokens,
            "depth": self.depth,
            "mlp_ratio": self.mlp_ratio,
            "channels": self.channels,
            "rows": self.rows,
        }


class _FeatureMixer(keras.layers.Layer):
    """One residual MLP over the tokens."""

    def __init__(self, tokens: int, hidden: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        small = keras.initializers.TruncatedNormal(stddev=0.02)
        # The epsilon of PyTorch; Keras has 1e-3.
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=policy, name="norm")
        self.expand = keras.layers.Dense(hidden, "relu", kernel_initializer=small, dtype=policy, name="expand")
        self.contract = keras.layers.Dense(tokens, kernel_initializer=small.clone(), dtype=policy, name="contract")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.norm.build(input_shape)
        self.expand.build(input_shape)
        self.contract.build((*input_shape[:-1], self.expand.units))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return inputs + self.contract(self.expand(self.norm(inputs)))


def resize_matrix(length: Any, size: int, dtype: str) -> keras.KerasTensor:
    """Bilinear weights [size, length]; the identity where both are equal. `length` may be known only in the graph.

    `keras.ops.image.resize` would return float32 whatever it is given, and the backends differ in its antialiasing.
    """
    scale = ops.cast(length, dtype) / size
    centres = (ops.arange(size, dtype=dtype) + 0.5) * scale - 0.5
    distances = ops.abs(ops.arange(length, dtype=dtype) - ops.expand_dims(centres, 1))
    weights = ops.relu(1 - distances / ops.maximum(scale, 1))
    return weights / ops.sum(weights, axis=1, keepdims=True)
