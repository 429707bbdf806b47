"""Whitening of descriptors inside a model."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sare.layers.normalize import at_least, l2_normalize
from keras_sare.utils.arguments import plain_arguments


@keras.saving.register_keras_serializable(package="keras_sare")
class Whitening(keras.layers.Layer):
    """Projects descriptors onto whitened axes and L2-normalises: y = l2((x - m) P + b).

    The projection is fitted on arrays (`keras_sare.whitening`) and set with `set_projection`. A smaller dimension is
    the first columns of a larger one, normalised again: `Whitening(dim)` takes the first `dim` of what it is given.

    A fitted whitening centres: x P and its b are large and nearly cancel, which costs digits, most of all on a GPU that
    multiplies in TensorFloat-32. So the mean m is subtracted first where it is known, and b is what is left.

    With `end_to_end` the projection is trained with the network instead, as cirtorch's `whiten` and the VG benchmark's
    `fc_output_dim` are. It starts as a random projection, so that even an untrained one keeps neighbourhoods
    (Johnson-Lindenstrauss); `set_projection` gives it a fitted start. P is the transposed weight of their fully
    connected layer, `dim` may exceed the number of channels, as there, and there is no m.

    Reference: Arandjelovic et al., "NetVLAD", CVPR 2016, section 5.2 (PCA whitening, then L2).

    Args:
        dim: output dimension.
        end_to_end: whether the projection is trained with the network. A fitted one never is, even in a trainable
            layer.
        **kwargs: of `keras.layers.Layer`.

    Input shape: `[batch, channels]`, any floating dtype.

    Output shape: `[batch, dim]`, float32 (float64 for a float64 policy or input), each row of norm 1.
    """

    @plain_arguments
    def __init__(self, dim: int, end_to_end: bool = False, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if dim < 1:
            raise ValueError(f"`dim` must be at least 1. Received: dim={dim}")
        self.dim = dim
        self.end_to_end = end_to_end
        # Of weights and sums, also under mixed precision: entries of a learned whitening exceed float16's range.
        self.precision = keras.backend.result_type(self.compute_dtype, "float32")

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
            # A fitted projection is as large as half a gigabyte: random numbers would be drawn to be overwritten.
            initializer=keras.initializers.RandomNormal(stddev=self.dim**-0.5) if self.end_to_end else "zeros",
            dtype=self.precision,
            trainable=self.end_to_end,
            autocast=False,
        )
        zeros = {"initializer": "zeros", "dtype": self.precision, "autocast": False}
        self.bias = self.add_weight(name="bias", shape=(self.dim,), trainable=self.end_to_end, **zeros)
        if not self.end_to_end:
            self.mean = self.add_weight(name="mean", shape=(channels,), trainable=False, **zeros)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.dim)

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        # Keras would take the compute dtype for the output's, which under mixed precision it is not.
        dtype = keras.backend.result_type(inputs.dtype, self.precision)
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype)

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        x = at_least(inputs, self.precision)
        projection, bias = (ops.cast(w, x.dtype) for w in (self.projection, self.bias))
        if not self.end_to_end:
            x = x - ops.cast(self.mean, x.dtype)
        return l2_normalize(ops.matmul(x, projection) + bias)

    @plain_arguments
    def set_projection(self, projection: np.ndarray, bias: np.ndarray, mean: np.ndarray | None = None) -> None:
        """Sets the first `dim` columns of a fitted whitening y = x P + b.

        Args:
            projection: P [channels, at least dim], columns by falling eigenvalue.
            bias: b [at least dim], minus the projected mean.
            mean: [channels], the mean of the descriptors, where it is known: it is subtracted first and the bias is
                changed accordingly, which keeps digits. An end-to-end layer has no use for it.

        Raises:
            ValueError: the layer is not built, the arrays do not have enough rows or columns, or something in them is
                not finite.
        """
        if not self.built:
            raise ValueError("`Whitening.set_projection` needs a built layer: call the layer on descriptors first.")
        channels = self.projection.shape[0]
        if projection.shape[0] != channels or min(projection.shape[1], len(bias)) < self.dim:
            raise ValueError(
                f"`projection` must be [{channels}, {self.dim} or more] and `bias` [{self.dim} or more]. "
                f"Received: projection.shape={projection.shape}, bias.shape={bias.shape}"
            )
        projection = projection[:, : self.dim]
        bias = bias[: self.dim]
        if not np.isfinite(projection).all() or not np.isfinite(bias).all():
            raise ValueError("`projection` and `bias` must be finite. Received: arrays with NaN or infinity")
        if mean is not None and not self.end_to_end:
            if mean.shape != (channels,):
                raise ValueError(f"`mean` must be [{channels}]. Received: mean.shape={mean.shape}")
            rounded = np.asarray(mean, self.precision)  # What is subtracted is what the bias must make up for.
            self.mean.assign(rounded)
            bias = bias + rounded.astype("float64") @ projection
        elif not self.end_to_end:
            self.mean.assign(np.zeros(channels))
        self.projection.assign(projection)
        self.bias.assign(bias)

    def folded_bias(self) -> np.ndarray:
        """The b of y = x P + b, float32 [dim], for layouts that know no mean; there it rounds where one was set."""
        bias = keras.ops.convert_to_numpy(self.bias)
        if self.end_to_end:
            return bias
        projection, mean = (keras.ops.convert_to_numpy(weight) for weight in (self.projection, self.mean))
        return (bias - mean.astype("float64") @ projection).astype("float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dim": self.dim, "end_to_end": self.end_to_end}
