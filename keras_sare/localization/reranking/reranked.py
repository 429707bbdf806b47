"""Candidates in the order of the points that they share with the photo."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from keras_sare.localization.candidates import Candidates

if TYPE_CHECKING:
    from keras_sare.localization.reranking.lazy_photos import LazyPhotos

_LOGARITHM = 0.1
"""Similarity that e times as many inliers count for; five times the temperature of `estimate_positions`."""


@dataclass(frozen=True, eq=False)
class Reranked:
    """Candidates of Q photos, of which the first were compared with the photo.

    Attributes:
        candidates: those that were compared in falling order of inliers, then the others.
        inliers: int64 [Q, k]; -1 where a candidate was not compared.
    """

    candidates: Candidates
    inliers: np.ndarray

    @classmethod
    def ordered(cls, candidates: Candidates, inliers: np.ndarray) -> "Reranked":
        """Orders candidates; those with the same number of inliers stay in the order of similarity.

        Args:
            candidates: as a search found them.
            inliers: int64 [Q, k]; -1 where a candidate was not compared.
        """
        order = np.argsort(-inliers, axis=1, kind="stable")
        taken = {}
        for field in fields(candidates):
            values = getattr(candidates, field.name)
            places = order if values.ndim == 2 else order[:, :, None]
            taken[field.name] = np.take_along_axis(values, places, axis=1)
        return cls(Candidates(**taken), np.take_along_axis(inliers, order, axis=1))

    def first(self, k: int) -> "Reranked":
        """The first `k` candidates of each photo."""
        return Reranked(self.candidates.first(k), self.inliers[:, :k])

    @property
    def evidence(self) -> np.ndarray:
        """Similarities by which a candidate's weight is (1 + inliers)^5 times as large, float64 [Q, k]."""
        return evidence(self.candidates.scores, self.inliers)


def evidence(scores: np.ndarray, inliers: np.ndarray | None) -> np.ndarray:
    """See `Reranked.evidence`; the similarities themselves where nothing was compared."""
    return scores if inliers is None else scores + _LOGARITHM * np.log1p(np.maximum(inliers, 0))


class Reranker(Protocol):
    """What compares candidates with a photo: a `LocalReranker`, whose module brings TensorFlow, or one of your own."""

    def rerank(
        self,
        candidates: Candidates,
        photos: Sequence[np.ndarray],
        chosen: np.ndarray,
        check: Callable[[], None] | None = None,
    ) -> Reranked:
        """Orders candidates of Q photos, of those that are chosen, bool [Q].

        `check` is called before each comparison; what it raises ends the work.
        """
        ...

    def lazy(self, photos: Sequence[str | Path | bytes]) -> "LazyPhotos":
        """Photos as it wants them, read when they are asked for."""
        ...


def compare(
    candidates: Candidates, first: int, chosen: np.ndarray, inliers: Callable[[int, list[str]], np.ndarray]
) -> Reranked:
    """Compares photos with their first candidates.

    Args:
        candidates: of Q photos.
        first: candidates that are compared.
        chosen: bool [Q], photos that are compared at all.
        inliers: called with the number of a photo and names of candidates, gives as many numbers.
    """
    found = np.full(candidates.names.shape, -1, np.int64)
    for photo in np.flatnonzero(chosen):
        names = [name for name in candidates.names[photo, :first].tolist() if name]
        found[photo, : len(names)] = inliers(int(photo), names)
    return Reranked.ordered(candidates, found)
