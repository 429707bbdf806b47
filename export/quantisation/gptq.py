"""GPTQ: rounding a layer's weights to few bits so that its outputs, not its weights, stay what they were."""

import numpy as np
import scipy.linalg

BLOCK = 128
"""Rows that are rounded before the others learn of it, all at once: the same sums in faster products."""

DAMPING = 0.01
"""Share of the mean diagonal that is added to the diagonal, as in the paper."""

_CLIPPINGS = np.linspace(0.4, 1.0, 25)


def gptq(weights: np.ndarray, second_moments: np.ndarray, bits: int) -> np.ndarray:
    """Rounds weights to a symmetric grid for each output, one input after another.

    The error of each input's weights is made up for by the weights of those that are still to be rounded, as far as the
    inputs are correlated: among them, those with the largest second moment come first. The step of each output's grid
    is the one of several that rounds its weights best. The largest weight of an output always takes the last value of
    its grid, so that whoever divides by it finds the step again.

    Reference: Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ", ICLR 2023, section 3; the order of inputs is their code's
    `act-order`.

    Args:
        weights: float [inputs, outputs].
        second_moments: float64 [inputs, inputs], X^T X of a sample of the layer's inputs, in any scale.
        bits: of the rounded weights, at least 2.

    Returns:
        float32 [inputs, outputs], each column a multiple of a step of its own, at most 2^(bits-1) - 1 of them.

    Raises:
        ValueError: the shapes do not fit, `bits` is below 2, or something is not finite.
    """
    _check(weights, second_moments, bits)
    largest = 2 ** (bits - 1) - 1
    steps = _steps(weights, largest)
    order = np.argsort(-np.diag(second_moments), kind="stable")
    left = weights[order].astype(np.float64)
    last = np.abs(left) == np.abs(left).max(axis=0)
    ends = np.where(last, np.sign(left) * largest * steps, np.nan)
    factor = _inverse_factor(second_moments[np.ix_(order, order)])
    for start in range(0, len(left), BLOCK):
        block = slice(start, min(start + BLOCK, len(left)))
        errors = _round_block(left[block], factor[block, block], steps, largest, ends[block])
        left[block.stop :] -= factor[block, block.stop :].T @ errors
    rounded = np.empty(weights.shape, np.float32)
    rounded[order] = left
    return rounded


def _round_block(
    block: np.ndarray, factor: np.ndarray, steps: np.ndarray, largest: int, ends: np.ndarray
) -> np.ndarray:
    """Rounds rows in place, to `ends` where that is a number; returns what the rows behind have to make up for."""
    errors = np.empty_like(block)
    for row in range(len(block)):
        rounded = np.where(np.isnan(ends[row]), _nearest(block[row], steps, largest), ends[row])
        errors[row] = (block[row] - rounded) / factor[row, row]
        block[row] = rounded
        block[row + 1 :] -= np.outer(factor[row, row + 1 :], errors[row])
    return errors


def _inverse_factor(second_moments: np.ndarray) -> np.ndarray:
    """The upper U of U^T U = (H + damping)^-1."""
    damped = second_moments.astype(np.float64)
    diagonal = np.diag(damped).copy()
    # An input that is always zero has no say; any value keeps the matrix regular.
    np.fill_diagonal(damped, np.where(diagonal > 0, diagonal, 1) + DAMPING * diagonal.mean())
    lower = scipy.linalg.cholesky(damped, lower=True, overwrite_a=True)
    inverse, _ = scipy.linalg.lapack.dpotri(lower, lower=True, overwrite_c=True)
    # Of a symmetric matrix one half is read, the one that dpotri writes.
    return scipy.linalg.cholesky(inverse.T, lower=False, overwrite_a=True)


def nearest_on_grid(weights: np.ndarray, bits: int) -> np.ndarray:
    """Rounds weights to the nearest values of `gptq`'s grids.

    Args:
        weights: float [inputs, outputs].
        bits: of the rounded weights, at least 2.

    Returns:
        float32 [inputs, outputs].
    """
    largest = 2 ** (bits - 1) - 1
    return _nearest(weights, _steps(weights, largest), largest).astype(np.float32)


def _nearest(weights: np.ndarray, steps: np.ndarray, largest: int) -> np.ndarray:
    return np.clip(np.round(weights / steps), -largest, largest) * steps


def _steps(weights: np.ndarray, largest: int) -> np.ndarray:
    """The step of each column's grid, of those that clip its largest weights more or less."""
    full = np.maximum(np.abs(weights).max(axis=0), np.finfo(np.float32).tiny) / largest
    errors = []
    for clipping in _CLIPPINGS:
        errors.append(np.square(_nearest(weights, full * clipping, largest) - weights).sum(axis=0))
    return full * _CLIPPINGS[np.argmin(errors, axis=0)]


def _check(weights: np.ndarray, second_moments: np.ndarray, bits: int) -> None:
    if weights.ndim != 2 or second_moments.shape != (len(weights), len(weights)):
        raise ValueError(
            "`weights` must be [inputs, outputs] and `second_moments` [inputs, inputs]. "
            f"Received: weights.shape={weights.shape}, second_moments.shape={second_moments.shape}"
        )
    if bits < 2:
        raise ValueError(f"`bits` must be at least 2. Received: bits={bits}")
    if not (np.isfinite(weights).all() and np.isfinite(second_moments).all()):
        raise ValueError("`weights` and `second_moments` must be finite. Received: NaN or infinity")
