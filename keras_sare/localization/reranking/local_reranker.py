"""Re-ranking by local features: the candidate that shows the same points as the photo is the place."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import tensorflow as tf

from keras_sare.datasets import load_image
from keras_sare.datasets.images.pixels import resize
from keras_sare.datasets.sfm.sfm_pycolmap import import_pycolmap
from keras_sare.local_features import LighterGlue, LocalFeatures, XFeat, count_inliers, match_mutual
from keras_sare.localization.candidates import Candidates
from keras_sare.localization.reranking.database_features import DatabaseFeatures
from keras_sare.localization.reranking.lazy_photos import LazyPhotos
from keras_sare.localization.reranking.reranked import Reranked, compare
from keras_sare.utils.choices import check_choice
from keras_sare.utils.error_text import one_line

Item = TypeVar("Item")

logger = logging.getLogger(__name__)

MATCHERS = ("lighterglue", "mutual")
"""How keypoints are matched."""


@dataclass(frozen=True)
class RerankingSettings:
    """How candidates are compared with a photo.

    Attributes:
        first: candidates of each photo that are compared.
        matcher: one of `MATCHERS`.
        keypoints: the most of each photo.
        longer_side: pixels that photos are made smaller to.
        error: pixels that a match may be off the geometry.
        orientation: "upright" or "stored", how the index's photos are read.
        max_bytes: of the features of the index's photos that are kept in memory; 140 kB a photo with 512 keypoints.

    Raises:
        ValueError: a value is out of range.
    """

    first: int = 5
    matcher: str = "lighterglue"
    keypoints: int = 512
    longer_side: int = 480
    error: float = 3.0
    orientation: str = "upright"
    max_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        check_choice("matcher", self.matcher, MATCHERS)
        for name in ("first", "keypoints", "longer_side", "error"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive. Received: {name}={getattr(self, name)}")


class LocalReranker:
    """Counts the points that a photo shares with the photos of an index.

    Args:
        photos: folder that the names of the index's photos are relative to.
        settings: how they are compared.
        extract: of a photo's pixels, by default `XFeat`, whose weights are fetched at the first use.
        match: of two photos' features the rows that match, int64 [m, 2]; by default as `settings.matcher` says.

    Raises:
        ImportError: pycolmap is not installed.
        NotADirectoryError: `photos` is no folder.
        RuntimeError: weights could not be fetched.
    """

    def __init__(
        self,
        photos: str | Path,
        settings: RerankingSettings | None = None,
        extract: Callable[[np.ndarray], LocalFeatures] | None = None,
        match: Callable[[LocalFeatures, LocalFeatures], np.ndarray] | None = None,
    ) -> None:
        self.settings = settings or RerankingSettings()
        import_pycolmap()  # Here: whoever lacks it shall not learn of it at the first photo.
        self._database = DatabaseFeatures(photos, self._read, self.settings.max_bytes)
        self._extract = extract or XFeat(keypoints=self.settings.keypoints).extract
        self._match = match or _matcher(self.settings.matcher)

    def rerank(
        self,
        candidates: Candidates,
        photos: Sequence[np.ndarray],
        chosen: np.ndarray,
        check: Callable[[], None] | None = None,
    ) -> Reranked:
        """Orders the first candidates of photos by the number of points that they share with the photo.

        A photo that is too small or cannot be read is not compared, nor one of whose candidates none can be read.

        Args:
            candidates: of Q photos.
            photos: Q, each [height, width, 3], RGB in 0..255; only those that are chosen are asked for. `LazyPhotos`
                are read as the index's photos are.
            chosen: bool [Q], photos whose candidates are ordered anew.
            check: called before each comparison; what it raises ends the work.

        Raises:
            ValueError: there is another number of photos.
        """
        if not len(photos) == len(chosen) == len(candidates.names):
            raise ValueError(
                f"`photos` must be those of the {len(candidates.names)} descriptors. Received: {len(photos)} photos"
            )
        settings = self.settings
        if isinstance(photos, LazyPhotos):
            photos = photos.read_as(settings.longer_side, settings.orientation)

        def inliers(photo: int, names: list[str]) -> np.ndarray:
            try:
                return self._shared(self.features(photos[photo]), names, check)
            except (FileNotFoundError, ValueError, tf.errors.InvalidArgumentError) as error:
                logger.warning("Photo %d is not compared with its candidates: %s", photo, one_line(error))
                return np.full(len(names), -1, np.int64)

        return compare(candidates, settings.first, chosen, inliers)

    def lazy(self, photos: Sequence[str | Path | bytes]) -> LazyPhotos:
        """Photos for `rerank`, read when they are asked for.

        Args:
            photos: files, or their contents.
        """
        return LazyPhotos(photos, self.settings.longer_side, self.settings.orientation)

    def features(self, photo: np.ndarray) -> LocalFeatures:
        """Features of a photo, as its candidates' are extracted.

        Args:
            photo: [height, width, 3], RGB in 0..255.

        Raises:
            ValueError: it has another shape or is too small.
        """
        return self._extract(np.asarray(resize(tf.convert_to_tensor(photo), self.settings.longer_side)))

    def inliers(self, photo: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Counts for each candidate the matches with a photo that one geometry explains.

        Args:
            photo: [height, width, 3], RGB in 0..255.
            names: of the candidates in the index.

        Returns:
            int64 [k], 0 where a candidate's photo cannot be read.

        Raises:
            FileNotFoundError: none of the candidates' photos can be read: the folder is another's.
            ValueError: the photo has another shape or is too small.
        """
        return self._shared(self.features(photo), names)

    def _shared(self, own: LocalFeatures, names: Sequence[str], check: Callable[[], None] | None = None) -> np.ndarray:
        others = [self._database[name] for name in _checked(names, check)]
        if names and all(other is None for other in others):
            raise FileNotFoundError(
                "`photos` must be the folder of the index's photos: none of the candidates can be read there. "
                f"Received: {names[0]!r}"
            )
        counts = [0 if other is None else self._inliers(own, other) for other in _checked(others, check)]
        return np.array(counts, np.int64)

    def _inliers(self, own: LocalFeatures, other: LocalFeatures) -> int:
        matches = self._match(own, other)
        return count_inliers(own.keypoints[matches[:, 0]], other.keypoints[matches[:, 1]], self.settings.error)

    def _read(self, path: Path) -> LocalFeatures:
        photo = load_image(path, self.settings.longer_side, orientation=self.settings.orientation)
        return self._extract(photo)


def _checked(items: Iterable[Item], check: Callable[[], None] | None) -> Iterator[Item]:
    for item in items:
        if check is not None:
            check()
        yield item


def _matcher(name: str) -> Callable[[LocalFeatures, LocalFeatures], np.ndarray]:
    if name == "mutual":
        return match_mutual
    glue = LighterGlue()
    return lambda one, other: glue.match(one, other)[0]
