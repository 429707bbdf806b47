"""What re-ranking by approximate max-pooling localisation takes, against straightforward versions.

    python benchmarks/reranking.py                                          # random maps of VGG16 at 480x640
    python benchmarks/reranking.py --queries=10 --images=20                 # ten queries that share their images

All versions find boxes in the same maps and describe them by R-MAC; the table says how many boxes are the same.

* integral, box by box: np.power, np.cumsum twice, then a Python loop over the boxes, each from its four corners, and a
  loop over the moves of the refinement. One query at a time.
* maxima, box by box: the same loop with the maximum over each box, without integral volumes: another score, nearer to
  what MAC is, and so other boxes.
* `Reranker`, with one thread and with as many as there are processors.

The versions take turns within a round, so that other programs on the machine disturb them alike; "times faster" is the
median over the rounds of the ratio within a round, with its range, by wall time and by processor time. Then the
parts of `Reranker` on one map are timed.
"""

import argparse
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Protocol, overload
from unittest import mock

import numpy as np

from keras_sare.layers.rmac import region_grid
from keras_sare.retrieval.reranking.box_descriptor import BoxDescriptor
from keras_sare.retrieval.reranking.integral_volumes import IntegralVolume
from keras_sare.retrieval.reranking.localisation import BoxSearch
from keras_sare.retrieval.reranking.query_objects import QueryObjects
from keras_sare.retrieval.reranking.refinement import refine
from keras_sare.retrieval.reranking.reranker import Reranker, Reranking

MOVES = [(side, sign) for side in (0, 2, 1, 3) for sign in (-1, 1)]


class Score(Protocol):
    """Scores a box of a map, y1, x1, y2, x2, for a query of norm 1."""

    def __call__(self, box: np.ndarray, query: np.ndarray) -> float: ...


class Repeated(Sequence[np.ndarray]):
    """A few random maps in place of many: sparse, and seldom strong, as VGG16's last convolutions are.

    Args:
        count: maps that it seems to hold.
        shape: of a map.
    """

    def __init__(self, count: int, shape: tuple[int, int, int]) -> None:
        random = np.random.default_rng(0)
        self._length = count
        self.maps = [np.floor(9 * random.random(shape, np.float32) ** 50).astype(np.uint8) for _ in range(50)]

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._length))]
        return self.maps[index % len(self.maps)]


def cosine(maxima: np.ndarray, query: np.ndarray) -> float:
    """Between a box's maxima and a query of norm 1."""
    return float(maxima @ query / max(np.linalg.norm(maxima), 1e-15))


def integral_score(levels: np.ndarray) -> Score:
    """Scores boxes of a map from the corners of an integral volume."""
    height, width, channels = levels.shape
    sums = np.zeros((height + 1, width + 1, channels))
    sums[1:, 1:] = np.cumsum(np.cumsum(np.power(levels.astype(np.float64), 10.0), axis=0), axis=1)

    def score(box: np.ndarray, query: np.ndarray) -> float:
        y1, x1, y2, x2 = box
        return cosine(np.power(sums[y2, x2] - sums[y1, x2] - sums[y2, x1] + sums[y1, x1], 0.1), query)

    return score


def maximum_score(levels: np.ndarray) -> Score:
    """Scores boxes of a map by their maxima."""

    def score(box: np.ndarray, query: np.ndarray) -> float:
        y1, x1, y2, x2 = box
        return cosine(levels[y1:y2, x1:x2].max(axis=(0, 1)).astype(np.float64), query)

    return score


def moved_box(box: np.ndarray, score: Callable[[np.ndarray], float], shape: tuple[int, ...]) -> np.ndarray:
    """Refines a box move by move."""
    best = score(box)
    for size in (3, 2, 1):
        for _ in range(5):
            before = best
            for side, sign in MOVES:
                other = box.copy()
                other[side] += sign * size
                inside = (other[:2] >= 0).all() and (other[2:] <= shape[:2]).all()
                if inside and (other[2:] - other[:2] >= 2).all() and (found := score(other)) > best:
                    box = other
                    best = found
            if best == before:
                break
    return box


def box_vector(levels: np.ndarray) -> np.ndarray:
    """R-MAC, region by region."""
    regions = region_grid(*levels.shape[:2])
    vectors = [levels[y : y + h, x : x + w].max(axis=(0, 1)).astype(np.float32) for y, x, h, w in regions]
    total = np.sum([vector / max(np.linalg.norm(vector), 1e-6) for vector in vectors], axis=0)
    return np.asarray(total / np.linalg.norm(total))


def box_by_box(
    make_score: Callable[[np.ndarray], Score], rankings: np.ndarray, queries: QueryObjects, maps: Sequence[np.ndarray]
) -> np.ndarray:
    """Finds, describes and scores the boxes of all queries; returns the boxes [Q, T, 4]."""
    boxes = np.empty((*rankings.shape, 4), np.int64)
    scores = np.empty(rankings.shape)
    for q, images in enumerate(rankings):
        query = queries.maxima[q] / np.linalg.norm(queries.maxima[q])
        for t, image in enumerate(images):
            levels = maps[int(image)]
            score = make_score(levels)
            grid = BoxSearch().grid(levels.shape[0], levels.shape[1], queries.aspects[q])
            of_query = functools.partial(score, query=query)
            box = moved_box(max(grid, key=of_query), of_query, levels.shape)
            y1, x1, y2, x2 = boxes[q, t] = box
            scores[q, t] = box_vector(levels[y1:y2, x1:x2]) @ queries.descriptors[q]
    np.argsort(-scores, axis=1)
    return boxes


def random_queries(count: int, maps: Sequence[np.ndarray]) -> QueryObjects:
    """Objects out of the maps, a quarter of a map large."""
    # The first is that of the maps; the others are unlike, so that they share few sizes of boxes.
    aspects = 3 / 4 * np.exp(np.random.default_rng(1).uniform(-0.5, 1, count) * (np.arange(count) > 0))
    crops = [maps[i][:15, :20] for i in range(count)]
    vectors = [BoxDescriptor()(crop, np.array([[0, 0, *crop.shape[:2]]]))[0] for crop in crops]
    return QueryObjects(np.stack(vectors), np.stack([crop.max(axis=(0, 1)) for crop in crops]), aspects)


def reranked(threads: int, rankings: np.ndarray, queries: QueryObjects, maps: Sequence[np.ndarray]) -> np.ndarray:
    """Boxes that `Reranker` finds with so many threads."""
    with mock.patch("os.cpu_count", return_value=threads):
        found: Reranking = Reranker()(rankings, queries, maps)
    return found.boxes


def parts(levels: np.ndarray, queries: QueryObjects) -> dict[str, float]:
    """Milliseconds of each part for one map and one query, the best of twenty."""
    volume = IntegralVolume()
    search = BoxSearch()
    unit = (queries.maxima[:1] / np.linalg.norm(queries.maxima[:1])).astype(np.float32)
    volume.load(levels)
    start, _ = dataclasses.replace(search, refinements=0).localise(volume, unit, queries.aspects[:1])
    steps: dict[str, Callable[[], object]] = {
        "integral volume": lambda: volume.load(levels),
        "boxes of the grid": lambda: dataclasses.replace(search, refinements=0).localise(
            volume, unit, queries.aspects[:1]
        ),
        "refinement": lambda: refine(volume, start, unit, 3, 5),
        "R-MAC of the box": lambda: BoxDescriptor()(levels, start),
    }
    return {name: 1000 * min(seconds(step) for _ in range(20)) for name, step in steps.items()}


def compared(slow: list[float], fast: list[float]) -> tuple[str, str]:
    """Median of the times, and how many times faster with its range."""
    ratios = [one / other for one, other in zip(slow, fast, strict=True)]
    return f"{median(fast):.2f}", f"{median(ratios):.1f} ({min(ratios):.1f}..{max(ratios):.1f})"


def seconds(work: Callable[[], object]) -> float:
    """What `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Times the versions in turn and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100, help="Images of a query that are re-ranked in each round.")
    parser.add_argument("--queries", type=int, default=1, help="Queries, which all look at the same images.")
    parser.add_argument("--shape", type=int, nargs=3, default=[30, 40, 512], help="Of a map.")
    parser.add_argument("--rounds", type=int, default=5)
    flags = parser.parse_args()
    height, width, channels = flags.shape
    maps = Repeated(flags.images, (height, width, channels))
    queries = random_queries(flags.queries, maps)
    rankings = np.tile(np.arange(flags.images), (flags.queries, 1))
    given = (rankings, queries, maps)
    processors = os.cpu_count() or 1
    versions: dict[str, Callable[[], np.ndarray]] = {
        "integral, box by box": lambda: box_by_box(integral_score, *given),
        "maxima, box by box": lambda: box_by_box(maximum_score, *given),
        "`Reranker`, one thread": lambda: reranked(1, *given),
        f"`Reranker`, {processors} threads": lambda: reranked(processors, *given),
    }
    walls: dict[str, list[float]] = {name: [] for name in versions}
    processor: dict[str, list[float]] = {name: [] for name in versions}
    boxes = {}
    for _ in range(flags.rounds):
        for name, version in versions.items():
            start = time.perf_counter()
            start_processor = time.process_time()
            boxes[name] = version()
            walls[name].append((time.perf_counter() - start) / rankings.size * 1000)
            processor[name].append((time.process_time() - start_processor) / rankings.size * 1000)
    first = next(iter(versions))
    grids = [len(BoxSearch().grid(height, width, aspect)) for aspect in queries.aspects]
    print(
        f"{flags.queries} queries, {flags.images} images each, maps {height}x{width}x{channels}, {median(grids)} boxes"
    )
    print(
        "| version | s for 1000 images of a query | times faster | processor s | times faster | same boxes |\n"
        "|---|---|---|---|---|---|"
    )
    for name in versions:
        same = (boxes[name] == boxes[first]).all(axis=-1).mean()
        columns = [column for times in (walls, processor) for column in compared(times[first], times[name])]
        print(f"| {name} | {' | '.join(columns)} | {same:.1%} |")
    print(", ".join(f"{name} {ms:.2f} ms" for name, ms in parts(maps[0], queries).items()))


if __name__ == "__main__":
    main()
