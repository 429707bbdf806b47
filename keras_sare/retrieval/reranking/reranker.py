"""Re-ranking: the first images of a ranking are looked at again, in the box where the query's object may be."""

import dataclasses
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_sare.retrieval.reranking.box_descriptor import BoxDescriptor
from keras_sare.retrieval.reranking.integral_volumes import IntegralVolume
from keras_sare.retrieval.reranking.localisation import BoxSearch
from keras_sare.retrieval.reranking.query_objects import QueryObjects
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.progress import progress

_QUERIES_AT_ONCE = 16
# What a thread needs, measured: the integral volume is 8 to 9 times its map; a query has several boxes of 20 regions.
_BYTES_PER_MAP_BYTE = 13
_BYTES_PER_QUERY_CHANNEL = 250


@dataclasses.dataclass(frozen=True, eq=False)
class Reranking:
    """Rankings after re-ranking, and the boxes that were found.

    Attributes:
        rankings: int64 [Q, n]: the first T images in the order of `scores`, the others as they were.
        expanded: int64 [Q, n]: the same with `expanded_scores`, by query expansion.
        candidates: int64 [Q, T], database images in the order of the rankings that were given.
        boxes: int64 [Q, T, 4], of the candidates: y1, x1, y2, x2 in positions of the feature map, the last two beyond
            the box.
        scores: float32 [Q, T], cosines between the query and the candidates' boxes.
        expanded_scores: float32 [Q, T], cosines between the expanded query and the candidates' boxes.
    """

    rankings: np.ndarray
    expanded: np.ndarray
    candidates: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    expanded_scores: np.ndarray


@plain_arguments
@dataclasses.dataclass(frozen=True)
class Reranker:
    """Re-ranks by approximate max-pooling localisation, then expands the queries.

    In each of the first images of a ranking the box is found that is most like the query (`BoxSearch`), and the image
    is scored by the cosine of the query's descriptor and the box's. The images are sorted by that. The mean of the
    query and the first boxes' descriptors is then compared with all boxes once more: `Reranking.expanded`. Images of
    equal score keep their order.

    An image is read once for all queries (of a group that fits into memory), and its integral volume serves all of
    them. Images are spread over threads.

    Reference: Tolias, Sicre, Jegou, "Particular object retrieval with integral max-pooling of CNN activations",
    ICLR 2016, sections 4 and 5.

    Attributes:
        describe: how a box is described.
        search: how a box is found.
        top: images of a ranking that are looked at.
        expand: boxes that are averaged with the query.
        memory_limit: bytes beside the maps and the results: at most half for descriptors of boxes, the rest for the
            threads' work. There are as many threads as fit, up to the number of processors, but one at least.

    Raises:
        ValueError: an attribute is out of range.

    Example:

    >>> found = Reranker(top=100)(rankings, QueryObjects(descriptors, maxima, aspects), maps)
    """

    describe: BoxDescriptor = BoxDescriptor()
    search: BoxSearch = BoxSearch()
    top: int = 1000
    expand: int = 5
    memory_limit: float = 5e8

    def __post_init__(self) -> None:
        for name, least in (("top", 1), ("expand", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}. Received: {name}={getattr(self, name)}")

    @plain_arguments
    def __call__(self, rankings: np.ndarray, queries: QueryObjects, maps: Sequence[np.ndarray]) -> Reranking:
        """Re-ranks.

        Args:
            rankings: integers [Q, n], database images, best first.
            queries: one for each row of `rankings`.
            maps: feature maps of all database images, uint8 [height, width, channels] of any sizes, see
                `quantise_activations`; a list, or anything that reads them from a disk. It is read from several
                threads.

        Returns:
            The new rankings, of the same length, with boxes and scores.

        Raises:
            ValueError: the numbers of queries differ, a ranking names an image that `maps` does not hold, or a map or
                a box's descriptor has another width than the queries'.
        """
        _check_rankings(rankings, queries, len(maps))
        candidates = rankings[:, : self.top].astype(np.int64)
        boxes = np.empty((*candidates.shape, 4), np.int64)
        scores, expanded_scores = (np.empty(candidates.shape, np.float32) for _ in range(2))
        wide = queries.descriptors.shape[1]
        group = max(1, int(self.memory_limit / 2 / max(1, 4 * wide * candidates.shape[1])))
        for start in range(0, len(candidates), group):
            rows = slice(start, start + group)
            some = queries.part(rows)
            # Handed on without a name, so that no two groups' descriptors are held.
            scores[rows], expanded_scores[rows] = self._score(
                self._describe_all(candidates[rows], some, maps, boxes[rows]), some.descriptors
            )
        return Reranking(
            _reordered(rankings, scores),
            _reordered(rankings, expanded_scores),
            candidates,
            boxes,
            scores,
            expanded_scores,
        )

    def _describe_all(
        self, candidates: np.ndarray, queries: QueryObjects, maps: Sequence[np.ndarray], boxes: np.ndarray
    ) -> np.ndarray:
        """Fills `boxes` and returns the descriptors of them: float32 [Q, T, D]."""
        vectors = np.empty((*candidates.shape, queries.descriptors.shape[1]), np.float32)
        images, counts = np.unique(candidates, return_counts=True)
        # Where each image stands: positions in the flat candidates, image by image.
        places = np.split(np.argsort(candidates, axis=None, kind="stable"), np.cumsum(counts)[:-1])
        local = threading.local()

        def look(image: int, where: np.ndarray) -> None:
            if not hasattr(local, "volume"):
                local.volume = IntegralVolume(self.search.power)
            activations = maps[image]
            _check_map(activations, image, queries.maxima.shape[1])
            local.volume.load(activations)
            for some in np.split(where, range(_QUERIES_AT_ONCE, len(where), _QUERIES_AT_ONCE)):
                place = np.unravel_index(some, candidates.shape)
                which = place[0]
                boxes[place], _ = self.search.localise(local.volume, queries.maxima[which], queries.aspects[which])
                vectors[place] = self._described(activations, boxes[place], queries.descriptors.shape[1])

        with ThreadPoolExecutor(self._threads(maps[int(images[0])])) as threads:
            for _ in progress(threads.map(look, images.tolist(), places), "re-ranking", len(images), "image"):
                pass
        return vectors

    def _described(self, activations: np.ndarray, boxes: np.ndarray, width: int) -> np.ndarray:
        vectors = self.describe(activations, boxes)
        if vectors.shape[1] != width:
            raise ValueError(
                f"`describe` must give what the queries' descriptors are, of {width} numbers; whiten both or neither. "
                f"Received: {vectors.shape[1]} numbers"
            )
        return vectors

    def _threads(self, activations: np.ndarray) -> int:
        work = _BYTES_PER_MAP_BYTE * activations.nbytes
        work += _BYTES_PER_QUERY_CHANNEL * _QUERIES_AT_ONCE * activations.shape[-1]
        return max(1, min(int(self.memory_limit / 2 / max(1, work)), os.cpu_count() or 1))

    def _score(self, vectors: np.ndarray, descriptors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cosines of the boxes with the query and with the expanded query."""
        scores = np.vecdot(vectors, descriptors[:, None].astype(np.float32))
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self.expand, None]
        expanded = descriptors + np.take_along_axis(vectors, best, axis=1).sum(axis=1)
        expanded = expanded / np.linalg.norm(expanded, axis=1, keepdims=True)
        return scores, np.vecdot(vectors, expanded[:, None].astype(np.float32))


def _reordered(rankings: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Rankings whose first images are sorted by falling score; equal scores keep the order."""
    reordered = rankings.astype(np.int64)
    top = scores.shape[1]
    order = np.argsort(-scores, axis=1, kind="stable")
    reordered[:, :top] = np.take_along_axis(reordered[:, :top], order, axis=1)
    return reordered


def _check_rankings(rankings: np.ndarray, queries: QueryObjects, images: int) -> None:
    if rankings.ndim != 2 or rankings.dtype.kind not in "iu" or len(rankings) != len(queries) or not rankings.size:
        raise ValueError(
            f"`rankings` must be integers [Q, n], a row for each of the {len(queries)} queries. "
            f"Received: dtype={rankings.dtype}, shape={rankings.shape}"
        )
    if not 0 <= rankings.min() <= rankings.max() < images:
        raise ValueError(
            f"`rankings` must hold images that `maps` has, 0 to {images - 1}. "
            f"Received: images from {rankings.min()} to {rankings.max()}"
        )


def _check_map(activations: np.ndarray, image: int, channels: int) -> None:
    if activations.ndim != 3 or activations.shape[2] != channels:
        raise ValueError(
            f"`maps` must be [height, width, {channels}], with the channels of the queries' maxima; compute both with "
            f"the same model. Received: shape {activations.shape} for image {image}"
        )
