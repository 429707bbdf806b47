"""L2 normalisation that survives low precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import keras
from keras import ops

from keras_sare.utils.choices import check_choice

EPSILON = 1e-12
"""Of the rules of `NORMALIZATIONS`."""

NORMALIZATIONS = ("matlab", "torch")
"""How a vector is divided by its length: x / sqrt(1e-12 + |x|^2), as NetVLAD's MATLAB code does, or
x / max(|x|, 1e-12), as PyTorch's `normalize` does. They part where |x| comes near 1e-6: MATLAB's vectors fade out."""

_NORMS_HELD = ContextVar("norms_held", default=False)


def at_least(x: keras.KerasTensor, dtype: str = "float32") -> keras.KerasTensor:
    """Casts what is less precise than `dtype`, float32 or float64; the rest stays what it is."""
    return ops.cast(x, keras.backend.result_type(keras.backend.standardize_dtype(x.dtype), dtype))


def l2_normalize(
    x: keras.KerasTensor, axis: int | tuple[int, ...] = -1, normalization: str = "matlab"
) -> keras.KerasTensor:
    """Divides by the L2 norm along `axis`.

    Args:
        x: tensor of any shape. float16 and bfloat16 are computed and returned in float32, where 1e-12 does not vanish.
        axis: axis of the vectors, or several axes of which a vector is made.
        normalization: one of `NORMALIZATIONS`.

    Returns:
        Tensor of the same shape, float32 or float64. A zero vector stays zero, with zero gradient.

    Raises:
        ValueError: `normalization` is unknown.
    """
    check_normalization(normalization)
    x = at_least(x)
    squared_norm = ops.sum(ops.square(x), axis=axis, keepdims=True)
    bounded = ops.maximum(squared_norm, EPSILON**2) if normalization == "torch" else squared_norm + EPSILON
    # The formula's gradient at zero, 1e6 or 1e12, is infinite once it is cast back to float16.
    scale = ops.where(squared_norm > 0, ops.rsqrt(bounded), 0)
    return x * (ops.stop_gradient(scale) if _NORMS_HELD.get() else scale)


@contextmanager
def norms_held() -> Iterator[None]:
    """Where gradients are taken eagerly inside, lengths count as constants.

    What is normalised is then linear in what it is made of, and its entries are sums of contributions. With the lengths
    as they are, the gradient of a similarity says nothing of where a descriptor comes from: that of a descriptor with
    itself, which is 1 whatever it is made of, is zero.
    """
    token = _NORMS_HELD.set(True)
    try:
        yield
    finally:
        _NORMS_HELD.reset(token)


def check_normalization(normalization: str) -> None:
    """Raises ValueError unless `normalization` is one of `NORMALIZATIONS`."""
    check_choice("normalization", normalization, NORMALIZATIONS)
