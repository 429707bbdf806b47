"""Photos of a place index, as parallel arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

AXES = {
    "metres": ("easting", "northing"),
    "degrees": ("latitude", "longitude"),
}
"""Names of the two columns of a position, by its kind."""

MOST = {"metres": (np.inf, np.inf), "degrees": (90.0, 180.0)}
"""That they may be, either way."""

_NORM_TOLERANCE = 1e-2


@dataclass(frozen=True, eq=False)
class PlaceRows:
    """A batch of photos for a place index.

    Args:
        names: n different texts, by which photos are replaced and removed.
        descriptors: [n, dim] finite, rows of norm 1.
        positions: [n, 2]: easting and northing in metres, or latitude and longitude in degrees, as the index says.
        headings: [n] degrees clockwise from north, NaN where that is not known; None where no photo has one.
        timestamps: n texts, when a photo was taken; None where that is not known.
        traversals: n texts, the walk or drive it was taken on, or the map it belongs to; None where there is none.
        thumbnails: n JPEG files in a few kilobytes each; None where there are none.

    Raises:
        ValueError: lengths differ, a name occurs twice or is empty, or a descriptor or position is not as above.
    """

    names: Sequence[str]
    descriptors: np.ndarray
    positions: np.ndarray
    headings: np.ndarray | None = None
    timestamps: Sequence[str] | None = None
    traversals: Sequence[str] | None = None
    thumbnails: Sequence[bytes] | None = None

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            if values is not None and len(values) != len(self.names):
                raise ValueError(
                    f"`{name}` must hold one entry for each of the {len(self.names)} `names`. "
                    f"Received: len({name})={len(values)}"
                )
        if len({*self.names}) < len(self.names) or "" in self.names:
            raise ValueError("`names` must differ and not be empty: photos are replaced and removed by their names")
        self._check_descriptors()
        if self.positions.ndim != 2 or self.positions.shape[1] != 2 or not np.isfinite(self.positions).all():
            raise ValueError(
                f"`positions` must be [n, 2] finite numbers. Received: positions.shape={self.positions.shape}"
            )

    def __len__(self) -> int:
        return len(self.names)

    def _check_descriptors(self) -> None:
        if self.descriptors.ndim != 2:
            raise ValueError(f"`descriptors` must be [n, dim]. Received: shape={self.descriptors.shape}")
        norms = np.linalg.norm(self.descriptors.astype(np.float32), axis=1)
        wrong = np.flatnonzero(~(np.abs(norms - 1) <= _NORM_TOLERANCE))
        if len(wrong):
            raise ValueError(
                f"`descriptors` must be rows of norm 1; {len(wrong)} are not. "
                f"Received: norm {norms[wrong[0]]:.4g} of {self.names[wrong[0]]!r}"
            )
