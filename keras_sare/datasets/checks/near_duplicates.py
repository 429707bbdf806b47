"""Photos that are nearly the same: stored again, resized or compressed anew."""

import numpy as np

_BANDS = 4
_BITS = 64
_MOST_BITS = 3
"""Hashes of near duplicates differ in at most so many bits: then one of four bands of 16 is the same."""
_NEXT = 8
"""Each photo is compared with so many that follow it, in the order of its hash turned by a band."""
_MOST_GREY = 2.0
"""Mean difference of thumbnails, grey levels, less that of their brightness."""
_MOST_GREY_ANYWHERE = 12.0
"""Largest difference. Photos compressed anew to quality 30 differ by up to 3, those resized to a half by up to 11, and
those of a standing camera by 14 and more where a car has moved."""
_LEAST_CONTRAST = 8.0
_PAIRS_AT_A_TIME = 65536


def near_duplicates(hashes: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
    """Finds pairs of photos that look the same at a small size.

    Hashes are sorted once a band, and neighbours in that order compared: time grows as N log N, memory as N.
    Photos with next to no contrast are left out, for they all look alike.

    Args:
        hashes: uint64 [N], as `photo_looks` makes them.
        thumbnails: uint8 [N, 16, 16].

    Returns:
        int64 [P, 2], indices of the pairs, the smaller first, each once.
    """
    candidates = [np.zeros((0, 2), np.int64)]
    for band in range(_BANDS):
        shift = np.uint64(band * _BITS // _BANDS)
        turned = (hashes << shift) | (hashes >> (np.uint64(_BITS) - shift)) if band else hashes
        order = np.argsort(turned, kind="stable")
        for ahead in range(1, _NEXT + 1):
            pairs = np.stack([order[:-ahead], order[ahead:]], axis=1)
            differing = np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]])
            candidates.append(np.sort(pairs[differing <= _MOST_BITS], axis=1))
    found = np.unique(np.concatenate(candidates), axis=0)
    parts = [found[start : start + _PAIRS_AT_A_TIME] for start in range(0, len(found), _PAIRS_AT_A_TIME)]
    return np.concatenate([found[:0], *(part[_alike(thumbnails, part)] for part in parts)])


def _alike(thumbnails: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    first, second = (thumbnails[pairs[:, side]].astype(np.float32) for side in (0, 1))
    first -= first.mean(axis=(1, 2), keepdims=True)
    second -= second.mean(axis=(1, 2), keepdims=True)
    contrast = np.minimum(first.std(axis=(1, 2)), second.std(axis=(1, 2)))
    differences = np.abs(first - second)
    alike = (differences.mean(axis=(1, 2)) <= _MOST_GREY) & (differences.max(axis=(1, 2)) <= _MOST_GREY_ANYWHERE)
    return np.asarray(alike & (contrast >= _LEAST_CONTRAST))
