"""Approximate max-pooling localisation: the box of a feature map whose maxima are most like a query's."""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from keras_sare.retrieval.reranking.integral_volumes import IntegralVolume
from keras_sare.retrieval.reranking.refinement import SMALLEST_SIDE, TINY, refine
from keras_sare.utils.arguments import plain_arguments


@plain_arguments
@dataclasses.dataclass(frozen=True)
class BoxSearch:
    """How a query's object is looked for in a feature map.

    Boxes on a grid are tried first, those of about the query's aspect ratio: sides of 2, 2 + step, 2 + 2 step, ...
    positions, corners `step` apart. Then the best one's sides are moved, by `step` positions, by one less, and so on
    down to 1, wherever that raises the score: the cosine between the query and the box's approximate maxima.

    It finds the boxes that the authors' code (gtolias/rmac, aml.c) finds, once that does not round the approximate
    maxima to whole levels. Where no box of the grid has the aspect ratio, that code begins to refine the whole map but
    never scores it; here it counts.

    Reference: Tolias, Sicre, Jegou, "Particular object retrieval with integral max-pooling of CNN activations",
    ICLR 2016, section 4.

    Attributes:
        power: exponent of the approximate maxima, alpha in the paper.
        step: distance of neighbouring boxes and largest move of a side, in positions; t in the paper.
        aspect_tolerance: largest factor between the aspect ratios of a box and the query, s in the paper; `math.inf`
            allows boxes of any shape.
        refinements: largest number of rounds with each step; each round tries to move every side both ways. 0 leaves
            the best box of the grid.

    Raises:
        ValueError: an attribute is out of range.
    """

    power: int = 10
    step: int = 3
    aspect_tolerance: float = 1.1
    refinements: int = 5

    def __post_init__(self) -> None:
        for name, least in (("power", 1), ("step", 1), ("aspect_tolerance", 1), ("refinements", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"`{name}` must be at least {least}. Received: {name}={getattr(self, name)}")

    def localise(
        self, volume: IntegralVolume, queries: np.ndarray, aspects: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the box of each query in one feature map.

        Args:
            volume: with the map loaded; its power must be that of the search.
            queries: [Q, channels], maxima of the queries' activations (MAC vectors) of any length but 0.
            aspects: [Q], height divided by width of what the queries show, in pixels.

        Returns:
            Boxes int64 [Q, 4]: y1, x1, y2, x2 in positions of the map, the last two beyond the box; and their scores
            float32 [Q].

        Raises:
            ValueError: the volume has another power.
        """
        if volume.power != self.power:
            raise ValueError(f"`volume` must have the power {self.power}. Received: volume.power={volume.power}")
        unit = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
        return refine(volume, self._best_of_grid(volume, unit, aspects), unit, self.step, self.refinements)

    def grid(self, height: int, width: int, aspect: float) -> np.ndarray:
        """Lists the boxes that are tried first.

        Args:
            height: of the map, in positions.
            width: likewise.
            aspect: height divided by width of what the query shows.

        Returns:
            int64 [n, 4]: y1, x1, y2, x2; by height, then width, then row, then column.
        """
        boxes = [
            (y, x, y + tall, x + wide)
            for tall, widths in self._sizes(height, width, np.array([aspect]))
            for wide in widths
            for y in range(0, height - tall + 1, self.step)
            for x in range(0, width - wide + 1, self.step)
        ]
        return np.array(boxes, np.int64).reshape(-1, 4)

    def _sizes(self, height: int, width: int, aspects: np.ndarray) -> Iterator[tuple[int, dict[int, np.ndarray]]]:
        """For each height of a box the widths that suit some query, and which queries those are."""
        talls, wides = (np.arange(SMALLEST_SIDE, side + 1, self.step) for side in (height, width))
        factors = np.log(aspects / (talls[:, None, None] / wides[:, None]))
        suitable = np.abs(factors) <= math.log(self.aspect_tolerance)
        for tall, row in zip(talls.tolist(), suitable, strict=True):
            if row.any():
                yield tall, {int(wides[i]): np.flatnonzero(row[i]) for i in np.flatnonzero(row.any(axis=1))}

    def _best_of_grid(self, volume: IntegralVolume, unit: np.ndarray, aspects: np.ndarray) -> np.ndarray:
        boxes = np.tile(np.array([0, 0, volume.height, volume.width]), (len(unit), 1))
        best = np.full(len(unit), -np.inf, np.float32)
        for tall, widths in self._sizes(volume.height, volume.width, aspects):
            grids = volume.grid_sums(tall, list(widths), self.step)
            for (wide, queries), sums in zip(widths.items(), grids, strict=True):
                scores = _scores(volume.maxima(sums), unit[queries])
                first = scores.argmax(axis=0)
                found = scores[first, np.arange(len(queries))]
                better = found > best[queries]
                chosen = queries[better]
                y, x = self.step * np.array(np.divmod(first[better], sums.shape[1]))
                best[chosen] = found[better]
                boxes[chosen] = np.stack([y, x, y + tall, x + wide], axis=1)
        return boxes


def _scores(maxima: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Cosines of all boxes' maxima [..., channels] with all unit queries [Q, channels]: [boxes, Q]."""
    rows = maxima.reshape(-1, 1, maxima.shape[-1])
    # A matrix product would round equal boxes unequally, and otherwise for each number of queries.
    return np.vecdot(rows, unit) / np.sqrt(np.maximum(np.vecdot(rows, rows), TINY))
