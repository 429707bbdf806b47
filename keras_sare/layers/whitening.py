"""Whitening of descriptors inside a model."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sare.layers.normalize import at_least_float32, l2_normalize


@keras.saving.register_keras_serializable(package="keras_sare")
class Whitening(keras.layers.Layer):
    """Projects descriptors onto whitened axes and L2-normalises: y = l2(x P + b).

    The projection is fitted on arrays (`keras_sare.whitening`) and set with `set_projection`. A smaller dimension is
    the first columns of a larger one, normalised again: `Whitening(dim)` takes the first `dim` of what it is given.

    With `end_to_end` the projection is trained with the network instead, as cirtorch's `whiten` and the VG benchmark's
    `fc_output_dim` are. It starts as a random projection, so that even an untrained one keeps neighbourhoods
    (Johnson-Lindenstrauss); `set_projection` gives it a fitted start. P is the transposed weight of their fully
    connected layer, and `dim` may exceed the number of channels, as there.

    Reference: Arandjelovic et al., "NetVLAD", CVPR 2016, section 5.2 (PCA whitening, then L2).

    Args:
        dim: output dimension.
        end_to_end: whether the projection is trained with the network. A fitted one never is, even in a trainable
            layer.
        **kwargs: of `keras.layers.Layer`.

    Input shape: `[batch, channels]`, any floating dtype.

    Output shape: `[batch, dim]`, float32 (float64 for a float64 policy), each row of norm 1.
    """

    def __init__(self, dim: int, end_to_end: bool = False, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if dim < 1:
            raise ValueError(f"`dim` must be at least 1. Received: dim={dim}")
        self.dim, self.end_to_end = dim, end_to_end

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = input_shape[-1]
        if len(input_shape) != 2 or channels is None or (self.dim > channels and not self.end_to_end):
            raise ValueError(
                f"`Whitening` expects descriptors [batch, channels] with at least dim={self.dim} channels. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.projection = self.add_weight(
            name="projection",
            shape=(channels, self.dim),
            initializer=keras.initializers.RandomNormal(stddev=self.dim**-0.5) if self.end_to_end else None,
            trainable=self.end_to_end,
            autocast=False,
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.dim,), initializer="zeros", trainable=self.end_to_end, autocast=False
        )

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        x = at_least_float32(inputs)
        projection, bias = (ops.cast(w, x.dtype) for w in (self.projection, self.bias))
        return l2_normalize(ops.matmul(x, projection) + bias)

    def set_projection(self, projection: np.ndarray, bias: np.ndarray) -> None:
        """Sets the first `dim` columns of a fitted whitening.

        Args:
            projection: [channels, at least dim], columns by falling eigenvalue.
            bias: [at least dim], minus the projected mean.

        Raises:
            ValueError: the layer is not built, or the arrays do not have enough rows or columns.
        """
        if not self.built:
            raise ValueError("`Whitening.set_projection` needs a built layer: call the layer on descriptors first.")
        channels = self.projection.shape[0]
        if projection.shape[0] != channels or min(projection.shape[1], len(bias)) < self.dim:
            raise ValueError(
                f"`projection` must be [{channels}, {self.dim} or more] and `bias` [{self.dim} or more]. "
                f"Received: projection.shape={projection.shape}, bias.shape={bias.shape}"
            )
        self.projection.assign(projection[:, : self.dim])
        self.bias.assign(bias[: self.dim])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dim": self.dim, "end_to_end": self.end_to_end}
