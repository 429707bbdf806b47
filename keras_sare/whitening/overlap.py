"""Warns where a whitening was fitted on images that it is evaluated on."""

import hashlib
import os
import warnings
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from keras_sare.whitening.spectrum import blocks

_NAMED = 5
_BLOCK_ROWS = 1024


def warn_of_overlap(fitted_on: Sequence[Hashable] | np.ndarray, evaluated_on: Sequence[Hashable] | np.ndarray) -> int:
    """Warns where images that whitening was fitted on are evaluated on too, which makes recall look better than it is.

    Args:
        fitted_on: who the images of the fit are: paths or ids, anything hashable. Two lists of paths must be written
            alike (relative to the same folder). Or the descriptors themselves, `[n, D]` numbers: then equal rows are
            looked for, which finds the same image described twice by the same program, not two photos of one place.
        evaluated_on: the same of the images that results are reported for, queries and database.

    Returns:
        How many entries of `evaluated_on` are in `fitted_on` too.

    Raises:
        ValueError: one argument holds identities and the other descriptors, or descriptors of another width.

    Warns:
        UserWarning: that number is not 0.
    """
    seen, evaluated, names = _identities(fitted_on, evaluated_on)
    found = [name for name, identity in zip(names, evaluated, strict=True) if identity in seen]
    if found:
        first = ", ".join(map(str, found[:_NAMED])) + (", ..." if len(found) > _NAMED else "")
        warnings.warn(
            f"{len(found)} of the {len(evaluated)} images evaluated on ({100 * len(found) / len(evaluated):.1f} %) are "
            f"among the {len(fitted_on)} that whitening was fitted on, so the result will look better than it is: fit "
            f"on the training split only, or leave these images out. The first: {first}",
            UserWarning,
            stacklevel=2,
        )
    return len(found)


def _identities(fitted_on: Any, evaluated_on: Any) -> tuple[set[Hashable], list[Hashable], Sequence[Any]]:
    """What the fit has seen, what is evaluated, and how the latter's entries are called."""
    rows = [isinstance(one, np.ndarray) and one.ndim == 2 for one in (fitted_on, evaluated_on)]
    if not any(rows):
        evaluated = _names(evaluated_on)
        return set(_names(fitted_on)), evaluated, evaluated
    if not all(rows) or fitted_on.shape[1] != evaluated_on.shape[1]:
        shapes = [getattr(one, "shape", type(one).__name__) for one in (fitted_on, evaluated_on)]
        raise ValueError(
            "`fitted_on` and `evaluated_on` must both be [n] names or both [n, D] descriptors of one width. "
            f"Received: fitted_on={shapes[0]}, evaluated_on={shapes[1]}"
        )
    return set(_digests(fitted_on)), _digests(evaluated_on), [f"row {row}" for row in range(len(evaluated_on))]


def _names(images: Any) -> list[Hashable]:
    entries = images.tolist() if isinstance(images, np.ndarray) else images
    return [os.fsdecode(entry) if isinstance(entry, os.PathLike | bytes) else entry for entry in entries]


def _digests(descriptors: np.ndarray) -> list[Hashable]:
    """A hash of each row: a few bytes to keep instead of a descriptor."""
    digests: list[Hashable] = []
    for rows in blocks(len(descriptors), _BLOCK_ROWS):
        # Adding zero makes -0.0 and 0.0 the same bytes.
        values = np.ascontiguousarray(descriptors[rows], np.float32) + np.float32(0)
        digests.extend(hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in values)
    return digests
