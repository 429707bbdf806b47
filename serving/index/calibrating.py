"""How sure the answers of an index are, learned from photos whose position is known."""

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from keras_sare.datasets import ImageSet
from keras_sare.localization import Calibration, DescriptorLocalizer, Motion, PlaceIndex
from keras_sare.localization.reranking.reranked import Reranker
from serving.descriptors.resumable import DescriptorFiles
from serving.index.map_photos import MapSettings, positions_of, queries_of, unfinished_folder, walks_of
from serving.localization.rerankers import open_rerankers

logger = logging.getLogger("keras_sare.index")


@dataclass(frozen=True)
class Ways:
    """Ways in which photos are located beside that of each alone, for calibrations and measurements.

    Attributes:
        rerank: candidates that are compared with a photo; 0: none.
        map_photos: the folder that the index's names are relative to, for `rerank`.
        walk_gap: metres that end a walk where the data set has no traversals; None: it has no walks then.
        speed: metres from one photo of a walk to the next, at most.
    """

    rerank: int = 0
    map_photos: Sequence[str] = ()
    walk_gap: float | None = None
    speed: float = Motion.speed

    @property
    def motion(self) -> Motion:
        """Of walks."""
        return Motion(speed=self.speed)

    def reranker(self, index: PlaceIndex) -> Reranker | None:
        """What compares candidates with photos; see `open_rerankers` for what it raises."""
        if not self.rerank:
            return None
        (found,) = open_rerankers(self.rerank, self.map_photos, {index.folder.name: index.folder}).values()
        return found


def calibrate(folder: Path, settings: MapSettings, splits: Sequence[str], ways: Ways) -> PlaceIndex:
    """Learns anew how sure answers are, as after photos were appended. Broken off, the same call goes on.

    All calibrations appear at once. That of re-ranked answers stays as it was where it is not asked for.

    Args:
        folder: of the index.
        settings: the data set of the queries, and the index's model.
        splits: whose queries are located.
        ways: of locating them.

    Raises:
        ValueError: the model or the kind of the positions is another than the index's, there is no such split, or
            nothing can be learned from its queries.
    """
    index = PlaceIndex(folder)
    known = queries_of(settings, splits, index.record.kind)
    reranker = ways.reranker(index)
    model = settings.open_model()
    index.check_model(model.identity)
    unfinished = unfinished_folder(folder)
    descriptors = DescriptorFiles(unfinished).of(model, known.paths, settings.batch)
    index.calibrate(*calibrations(index, known, descriptors, ways, reranker))
    shutil.rmtree(unfinished)
    return index


def calibrations(
    index: PlaceIndex, known: ImageSet, descriptors: np.ndarray, ways: Ways, reranker: Reranker | None = None
) -> list[Calibration]:
    """Learns how sure answers are: of photos alone, near a rough position, of walks, and re-ranked.

    Args:
        index: of the map.
        known: photos with positions of the index's kind.
        descriptors: theirs.
        ways: of locating them.
        reranker: that compares candidates with them; None: no calibration of re-ranked answers.

    Raises:
        ValueError: nothing can be learned of photos alone, or of re-ranked ones. Other calibrations are left out then,
            which the log says.
    """
    localizer = DescriptorLocalizer(index, reranker=reranker)
    positions = positions_of(known)
    found = [localizer.calibrate(descriptors, positions)]
    found += _if_any("near a rough position", partial(localizer.calibrate_near, descriptors, positions))
    if walks := walks_of(known, ways.walk_gap):
        found += _if_any(
            "of walks", partial(localizer.calibrate_walks, descriptors, positions, walks, motion=ways.motion)
        )
    if reranker is not None:
        found.append(localizer.calibrate(descriptors, positions, photos=reranker.lazy(known.paths.tolist())))
    return found


def _if_any(what: str, learn: Callable[[], Calibration]) -> list[Calibration]:
    try:
        return [learn()]
    except ValueError as error:
        logger.warning("Answers %s have no calibration: %s", what, error)
        return []
