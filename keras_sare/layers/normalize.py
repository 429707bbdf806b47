"""L2 normalisation that survives low precision."""

import keras
from keras import ops

EPSILON = 1e-12
"""Added to the squared norm, as the reference implementations do (x / sqrt(1e-12 + |x|^2))."""


def at_least(x: keras.KerasTensor, dtype: str = "float32") -> keras.KerasTensor:
    """Casts what is less precise than `dtype`, float32 or float64; the rest stays what it is."""
    return ops.cast(x, keras.backend.result_type(keras.backend.standardize_dtype(x.dtype), dtype))


def l2_normalize(x: keras.KerasTensor, axis: int | tuple[int, ...] = -1) -> keras.KerasTensor:
    """Divides by the L2 norm along `axis`: x / sqrt(1e-12 + |x|^2).

    Args:
        x: tensor of any shape. float16 and bfloat16 are computed and returned in float32, where 1e-12 does not vanish.
        axis: axis of the vectors, or several axes of which a vector is made.

    Returns:
        Tensor of the same shape, float32 or float64. A zero vector stays zero, with zero gradient.
    """
    x = at_least(x)
    squared_norm = ops.sum(ops.square(x), axis=axis, keepdims=True)
    # The formula's gradient at zero, 1e6, is infinite once it is cast back to float16.
    return x * ops.where(squared_norm > 0, ops.rsqrt(squared_norm + EPSILON), 0)
