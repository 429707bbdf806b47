"""What is known of query images cropped to their objects."""

import dataclasses

import numpy as np

from keras_sare.utils.arguments import plain_arguments


@plain_arguments
@dataclasses.dataclass(frozen=True, eq=False)
class QueryObjects:
    """What re-ranking knows of the queries: their images cropped to the object, described in two ways.

    Attributes:
        descriptors: [Q, D] of norm 1, of the kind that `BoxDescriptor` computes.
        maxima: [Q, channels], MAC vectors by which the object is found: not whitened, of any length but 0.
        aspects: [Q], height divided by width of the crops, in pixels.

    Raises:
        ValueError: the arrays do not fit together, or hold something that cannot be used.
    """

    descriptors: np.ndarray
    maxima: np.ndarray
    aspects: np.ndarray

    def __post_init__(self) -> None:
        shapes = self.descriptors.shape, self.maxima.shape, self.aspects.shape
        if [len(shape) for shape in shapes] != [2, 2, 1] or len({shape[0] for shape in shapes}) > 1:
            raise ValueError(
                "`descriptors`, `maxima` and `aspects` must be [Q, D], [Q, channels] and [Q] with the same Q. "
                f"Received: shapes {shapes[0]}, {shapes[1]} and {shapes[2]}"
            )
        usable = {
            "descriptors": ("finite", np.isfinite(self.descriptors).all(axis=1)),
            "maxima": ("finite and not all 0", np.isfinite(self.maxima).all(axis=1) & self.maxima.any(axis=1)),
            "aspects": ("finite and positive", np.isfinite(self.aspects) & (self.aspects > 0)),
        }
        for name, (what, rows) in usable.items():
            if not rows.all():
                first = int(np.argmin(rows))
                raise ValueError(
                    f"`{name}` must be {what}; look at query {first}. Received: {name}={getattr(self, name)[first]}"
                )

    def __len__(self) -> int:
        return len(self.aspects)

    def part(self, rows: slice) -> "QueryObjects":
        """Some of the queries."""
        return QueryObjects(self.descriptors[rows], self.maxima[rows], self.aspects[rows])
