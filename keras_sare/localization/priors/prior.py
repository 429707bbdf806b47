"""What is known of photos before they are looked at: a rough position, the time of day."""

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from keras_sare.utils.arguments import plain_arguments

_DEGREE = 110_500.0
"""Metres of a degree of latitude at the equator, where it is shortest, and a little less: no box is too small."""

_DAY = 24 * 60
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)


@plain_arguments
@dataclass(frozen=True, eq=False)
class Prior:
    """What is known of photos; candidates that contradict it are not looked at.

    Args:
        near: [2], a rough position as the index has them, of all photos; or [Q, 2] of each, NaN where it is not known.
        within: metres around `near`, to each side.
        time_of_day: "21:30", by the clock that the index's timestamps were written with. Photos of the index without a
            time of day are then no candidates. Empty: any time.
        hours: before and after `time_of_day`; 12 and more are all day.
        penalty: similarity that a candidate `within` metres from `near` loses where positions are estimated, and a
            nearer one with the square of its distance. 0: all candidates in the box count alike.

    Raises:
        ValueError: a value is not as above.
    """

    near: np.ndarray | None = None
    within: float = 1000.0
    time_of_day: str = ""
    hours: float = 3.0
    penalty: float = 0.05

    def __post_init__(self) -> None:
        if self.near is not None:
            object.__setattr__(self, "near", _checked_near(self.near))
        if not 0 < self.within < np.inf:
            raise ValueError(f"`within` must be a positive number of metres. Received: within={self.within}")
        if not 0 <= self.penalty < np.inf:
            raise ValueError(f"`penalty` must be 0 or more. Received: penalty={self.penalty}")
        if self.time_of_day and not _CLOCK.fullmatch(self.time_of_day):
            raise ValueError(
                f"`time_of_day` must be hours and minutes, as 21:30. Received: time_of_day={self.time_of_day!r}"
            )
        if not 0 < self.hours < np.inf:
            raise ValueError(f"`hours` must be a positive number. Received: hours={self.hours}")

    @property
    def minutes(self) -> tuple[int, int] | None:
        """First and last minute of the day at which candidates were taken, over midnight where the first is later."""
        clock = _CLOCK.fullmatch(self.time_of_day)
        if clock is None or self.hours >= 12:
            return None
        middle = 60 * int(clock[1]) + int(clock[2])
        around = round(60 * self.hours)
        return (middle - around) % _DAY, (middle + around) % _DAY

    def check_photos(self, count: int) -> None:
        """Checks that it may be of so many photos.

        Raises:
            ValueError: `near` has positions of another number of photos.
        """
        if self.near is not None and self.near.ndim == 2 and len(self.near) != count:
            raise ValueError(
                f"`near` must be [2], or [Q, 2] for {count} photos. Received: near.shape={self.near.shape}"
            )

    def check_maps(self, kinds: Set[str]) -> None:
        """Checks that `near` may be a position on maps.

        Args:
            kinds: of the maps' positions, "metres" or "degrees".

        Raises:
            ValueError: there are both, or `near` is no degrees.
        """
        if self.near is None:
            return
        if len(kinds) > 1:
            raise ValueError(
                "`near` must be given with `maps` of one kind of positions: some of these have degrees, others metres"
            )
        for kind in kinds:
            self.boxes(len(self.near), kind)

    def of(self, photos: Sequence[int] | np.ndarray) -> "Prior":
        """The same of some of the photos."""
        return self if self.near is None or self.near.ndim == 1 else replace(self, near=self.near[photos])

    def has_position(self, count: int) -> np.ndarray:
        """Of which of `count` photos a rough position is known, bool [count]."""
        known = False if self.near is None else np.isfinite(self.near).all(axis=-1)
        return np.broadcast_to(known, count)

    def boxes(self, count: int, kind: str) -> list[np.ndarray | None]:
        """The box of each of `count` photos, as `PlaceIndex.search` takes it; one for all where it is the same.

        Args:
            count: number of photos.
            kind: of the index's positions, "metres" or "degrees".

        Raises:
            ValueError: `near` is of another number of photos, or no degrees.
        """
        self.check_photos(count)
        if self.near is None:
            return [None]
        if self.near.ndim == 1:
            return [box_around(self.near, self.within, kind)]
        return [None if np.isnan(one).any() else box_around(one, self.within, kind) for one in self.near]


def _checked_near(near: np.ndarray) -> np.ndarray:
    near = np.asarray(near, np.float64)
    wrong = near.ndim not in (1, 2) or near.shape[-1] != 2 or np.isinf(near).any()
    if wrong or (near.ndim == 1 and np.isnan(near).any()):
        raise ValueError(f"`near` must be a position of two finite numbers. Received: near={near.tolist()}")
    return near


@plain_arguments
def box_around(near: np.ndarray, within: float, kind: str) -> np.ndarray:
    """A box around a rough position, [2, 2] as `PlaceIndex.search` takes it.

    In degrees it is as wide as its side nearer to the pole needs; around a pole or the date line it is as wide as the
    earth.

    Args:
        near: [2] easting and northing, or latitude and longitude.
        within: metres to each side.
        kind: of the index's positions, "metres" or "degrees".

    Raises:
        ValueError: `near` is not such a position, or `within` is not positive.
    """
    near = np.asarray(near, np.float64)
    if near.shape != (2,) or not np.isfinite(near).all():
        raise ValueError(f"`near` must be a position of two finite numbers. Received: near={near.tolist()}")
    if not 0 < within < np.inf:
        raise ValueError(f"`within` must be a positive number of metres. Received: within={within}")
    if kind == "metres":
        return np.stack([near - within, near + within], axis=1)
    from keras_sare.datasets import earth_centred

    earth_centred(near[:1], near[1:])  # Degrees that are none are refused.
    latitude, longitude = near
    high = within / _DEGREE
    nearest_pole = min(abs(latitude) + high, 90.0)
    wide = high / max(np.cos(np.radians(nearest_pole)), 1e-9)
    around = np.array([longitude - wide, longitude + wide])
    if np.abs(around).max() > 180:
        around = np.array([-180.0, 180.0])
    return np.array([[latitude - high, latitude + high], around])
