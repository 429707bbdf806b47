"""Splits that do not show the same ground."""

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from keras_sare.datasets.photo_import.photo_list import PhotoList

SPLITS = ("train", "val", "test")
TRAIN, VAL, TEST = range(3)
NO_SPLIT = -1

_DIRECTIONS = 24
_TRIES = 50
_MOST_OFF = 0.25
"""Share by which a part may be smaller or larger than wanted, where that loses fewer photos."""
_ROUNDING = 2e-3
"""Metres by which positions in a list, in millimetres, may be nearer to each other."""
_DEGREES_OF_A_BOX = 4


def held_out(photos: PhotoList, traversals: np.ndarray, wanted: Sequence[str]) -> np.ndarray | float:
    """Reads what is to be held out for the test.

    Args:
        photos: N of them.
        traversals: StringDType [N].
        wanted: one number, a share; four, a box in degrees (south, west, north, east); else names of folders,
            traversals or places.

    Returns:
        The share, or the photos: bool [N].

    Raises:
        ValueError: a share is not above 0 and at most 1, or a box or a name has no photo.
    """
    numbers = [_number(text) for text in wanted]
    if len(numbers) == 1 and numbers[0] is not None:
        if not 0 < numbers[0] <= 1:
            raise ValueError(f"`hold_out` must be a share above 0, at most 1. Received: hold_out={wanted[0]}")
        return numbers[0]
    if len(numbers) == _DEGREES_OF_A_BOX and None not in numbers:
        south, west, north, east = np.array(numbers, np.float64)
        inside = (photos.latitudes >= south) & (photos.latitudes <= north)
        across = (photos.longitudes - west) % 360 <= (east - west) % 360
        return _with_photos(inside & across, ",".join(wanted), "a box in degrees (south,west,north,east)")
    masks = [_named(photos, traversals, name) for name in wanted]
    return np.asarray(np.any(masks, axis=0), bool)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _named(photos: PhotoList, traversals: np.ndarray, name: str) -> np.ndarray:
    folder = name.strip("/")
    inside = np.strings.startswith(photos.names, f"{folder}/") | (traversals == name) | (photos.places == folder)
    return _with_photos(inside, name, "names of folders or traversals")


def _with_photos(mask: np.ndarray, text: str, kind: str) -> np.ndarray:
    if not mask.any():
        raise ValueError(f"`hold_out` must be {kind} with photos that can be used. Received: hold_out={text}, no photo")
    return np.asarray(mask)


def split_positions(positions: np.ndarray, test: np.ndarray | float, val_share: float, distance: float) -> np.ndarray:
    """Gives each photo a split, such that photos of different splits are farther apart than `distance`.

    A share is cut off by a straight line, where it loses the fewest photos: those within `distance` of a split belong
    to no other.

    Args:
        positions: float64 [N, D] metres.
        test: share, or bool [N]: these photos and all within `distance` of them are the test.
        val_share: share of all; 0 for none.
        distance: metres.

    Returns:
        int8 [N]: `TRAIN`, `VAL`, `TEST` or `NO_SPLIT`.
    """
    splits = np.full(len(positions), TRAIN, np.int8)
    if isinstance(test, float):
        chosen = _cut(positions, test, distance)
    else:
        chosen = test | _near(positions, positions[test], distance)
    splits[chosen] = TEST
    splits[~chosen & _near(positions, positions[chosen], distance)] = NO_SPLIT
    left = np.flatnonzero(splits == TRAIN)
    share = min(1.0, val_share * len(positions) / max(len(left), 1))
    if share > 0 and len(left):
        chosen = _cut(positions[left], share, distance)
        splits[left[chosen]] = VAL
        splits[left[~chosen & _near(positions[left], positions[left[chosen]], distance)]] = NO_SPLIT
    return splits


def _cut(positions: np.ndarray, share: float, distance: float) -> np.ndarray:
    """About that share of the photos, on one side of a line: bool [N]."""
    if share >= 1 or len(positions) < 2:
        return np.ones(len(positions), bool)
    wanted = share * len(positions)
    least, most = np.clip([(1 - _MOST_OFF) * wanted, (1 + _MOST_OFF) * wanted], 1, len(positions) - 1)
    sizes = np.unique(np.linspace(least, most, _TRIES).round().astype(int))
    flat = _flat(positions)
    best = (np.inf, np.zeros(len(positions), bool))
    for angle in np.linspace(0, 2 * np.pi, _DIRECTIONS, endpoint=False):
        along = flat @ [np.cos(angle), np.sin(angle)]
        ordered = np.sort(along)
        ends = ordered[sizes - 1]
        own = np.searchsorted(ordered, ends, "right")
        lost = np.searchsorted(ordered, ends + distance, "right") - own
        costs = lost + _MOST_OFF * np.abs(own - wanted)
        number = int(np.argmin(costs))
        if costs[number] < best[0]:
            best = (costs[number], along <= ends[number])
    return best[1]


def _flat(positions: np.ndarray) -> np.ndarray:
    """The two directions in which positions vary most: distances along them are no longer than in space."""
    centred = positions - positions.mean(axis=0)
    if positions.shape[1] == 2:
        return centred
    return np.asarray(centred @ np.linalg.eigh(centred.T @ centred)[1][:, -2:])


def _near(positions: np.ndarray, others: np.ndarray, distance: float) -> np.ndarray:
    if not len(others):
        return np.zeros(len(positions), bool)
    return np.asarray(cKDTree(others).query(positions)[0] <= distance + _ROUNDING)


def split_places(places: np.ndarray, test: np.ndarray | float, val_share: float) -> np.ndarray:
    """Gives each place, with all of its photos, a split, at random but always the same.

    Args:
        places: StringDType [N].
        test: share, or bool [N]: the places of these photos are the test.
        val_share: share of all; 0 for none.

    Returns:
        int8 [N]: `TRAIN`, `VAL` or `TEST`.
    """
    place, counts = np.unique(places, return_inverse=True, return_counts=True)[1:]
    order = np.random.default_rng(0).permutation(len(counts))
    of_place = np.full(len(counts), TRAIN, np.int8)
    if isinstance(test, float):
        _fill(of_place, order, counts, TEST, test * len(places))
    else:
        of_place[np.unique(place[test])] = TEST
    _fill(of_place, order[of_place[order] == TRAIN], counts, VAL, val_share * len(places))
    return of_place[place]


def _fill(of_place: np.ndarray, order: np.ndarray, counts: np.ndarray, split: int, wanted: float) -> None:
    """Takes places in order until they hold about so many photos, at least one where any are wanted."""
    if wanted <= 0 or not len(order):
        return
    before = np.cumsum(counts[order]) - counts[order]
    chosen = before + counts[order] / 2 <= wanted
    chosen[0] = True
    of_place[order[chosen]] = split
