"""What all poolings of feature maps have in common."""

from typing import Any

import keras

from keras_sare.layers.normalize import l2_normalize


class FeatureMapPooling(keras.layers.Layer):
    """Base of the layers that turn a feature map of any size into one descriptor of norm 1.

    The inputs are not cast to the compute dtype: under mixed precision a subclass takes half-precision maps and casts
    them to `precision` where it sums or normalises.

    Args:
        **kwargs: of `keras.layers.Layer`.

    Attributes:
        precision: dtype of weights and sums: the compute dtype, but at least float32.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.precision = keras.backend.result_type(self.compute_dtype, "float32")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if len(input_shape) != 4 or input_shape[-1] is None:
            raise ValueError(
                f"`{type(self).__name__}` expects feature maps [batch, height, width, channels] with a known number of "
                f"channels. Received: input_shape={tuple(input_shape)}"
            )

    def descriptor_length(self, channels: int) -> int:
        """Length of the descriptor of a feature map with so many channels."""
        return channels

    def descriptor_dtype(self, dtype: str) -> str:
        """Dtype of the descriptor of a feature map of that dtype: the more precise one of both."""
        return keras.backend.result_type(dtype, self.precision)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.descriptor_length(input_shape[-1]))

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        # Keras would take the compute dtype for the output's, which under mixed precision it is not. Nor is it left to
        # tracing: JAX must know a map's size to trace R-MAC.
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), self.descriptor_dtype(inputs.dtype))


class GlobalPooling(FeatureMapPooling):
    """Base of the poolings that give each channel one number. A subclass writes `pool`.

    Args:
        normalize: whether the descriptor is L2-normalised. Only a network that projects it before any normalisation, as
            some of the VG benchmark do, wants False.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, *, normalize: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.normalize = normalize

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        pooled = self.pool(inputs)
        return l2_normalize(pooled) if self.normalize else pooled

    def pool(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Pools feature maps [batch, height, width, channels] to [batch, channels], at least float32."""
        raise NotImplementedError(f"{type(self).__name__} must implement `pool`.")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "normalize": self.normalize}
