"""Which images may be the positive of which, by the rules of learning from 3D models."""

from dataclasses import dataclass

import numpy as np

from keras_sare.datasets.places.spatial import Neighbours
from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.mining.sfm.co_observation import images_by
from keras_sare.mining.sfm.geometry import Observations, nearest_centres
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.choices import check_choice
from keras_sare.utils.progress import progress

_NAMES = ("m1", "m2", "m3", "pairs")


@plain_arguments
@dataclass(frozen=True)
class PositiveRule:
    """A way to choose positives from a 3D model, with its thresholds; the defaults are the paper's.

    * "m1": any image of the pool; the one with the nearest descriptor is taken.
    * "m2": the image of the pool that observes the most points together with the query; of equals the nearest camera.
    * "m3": any image i of the pool that observes enough of the query's points, |P(i) & P(q)| / |P(q)| >= `min_overlap`,
      at a scale that is at most `max_scale_change` times as large or as small; a random one is taken.
    * "pairs": the partners of the query in published pairs; a random one is taken.

    Reference: Radenovic, Tolias, Chum, "CNN Image Retrieval Learns from BoW", ECCV 2016, on its training data.

    Args:
        name: "m1", "m2", "m3" or "pairs".
        neighbours: the pool of a query: so many images of its model with the nearest camera centres, or all where the
            model has fewer.
        min_overlap: of m3, 0 to 1.
        max_scale_change: of m3, at least 1. The scale change of two images is the median ratio r, over the points that
            both observe, of the scales they see the point at, or 1 / r where that is larger.

    Raises:
        ValueError: a value is outside its range.
    """

    name: str = "m3"
    neighbours: int = 100
    min_overlap: float = 0.2
    max_scale_change: float = 1.5

    def __post_init__(self) -> None:
        check_choice("positive", self.name, _NAMES)
        if self.neighbours < 1:
            raise ValueError(f"`neighbours` must be at least 1. Received: neighbours={self.neighbours}")
        if not 0 <= self.min_overlap <= 1:
            raise ValueError(f"`min_overlap` must be a share, 0 to 1. Received: min_overlap={self.min_overlap}")
        if not self.max_scale_change >= 1:
            raise ValueError(
                f"`max_scale_change` must be at least 1 (no change). Received: max_scale_change={self.max_scale_change}"
            )


def possible_positives(dataset: SfMDataset, rule: PositiveRule) -> Neighbours:
    """Lists for each image the images that may be its positive.

    An image that observes no point together with an image of its pool has none, whatever the rule: nothing says that
    they show the same. (Where the dataset has no points, m1 trusts the camera centres alone, as the paper's does.) One
    for which no image passes m3's thresholds has none by m3: a fallback would train it by another rule than it is
    compared by. Each model is looked at by itself, so memory grows with the largest one and the lists.

    Args:
        dataset: N images.
        rule: of the choice.

    Returns:
        `Neighbours` with a row for each of the N images, images ascending in each.

    Raises:
        ValueError: the dataset lacks what the rule needs.
    """
    if rule.name == "pairs":
        queries, positives = np.unique(_field(dataset, "pairs", rule), axis=0).astype(np.int64).T
        return Neighbours(np.searchsorted(queries, np.arange(len(dataset.models) + 1)), positives.copy())
    centres = _field(dataset, "centres", rule)
    lists = [np.zeros(0, np.int64)] * len(dataset.models)
    models = [rows for rows in images_by(dataset.models) if len(rows) > 1]
    for rows in progress(models, "positives", unit="model"):
        neighbours = nearest_centres(centres[rows], rule.neighbours)
        allowed = _allowed(dataset, rows, neighbours, rule)
        for row, near, keep in zip(rows.tolist(), rows[neighbours], allowed, strict=True):
            lists[row] = np.sort(near[keep])
    counts = np.array([0, *map(len, lists)], np.int64)
    return Neighbours(np.cumsum(counts), np.concatenate(lists))


def _allowed(dataset: SfMDataset, rows: np.ndarray, neighbours: np.ndarray, rule: PositiveRule) -> np.ndarray:
    """Which neighbours, given as numbers within the model, a rule allows: bool [n, K]."""
    if rule.name == "m1" and dataset.points is None:
        return np.ones(neighbours.shape, bool)
    starts = _field(dataset, "point_starts", rule)
    points = _field(dataset, "points", rule)
    spans = [slice(starts[row], starts[row + 1]) for row in rows.tolist()]
    observations = Observations(starts[rows + 1] - starts[rows], np.concatenate([points[span] for span in spans]))
    shared = observations.shared_points(neighbours)
    if rule.name == "m1":
        return np.repeat(shared.any(axis=1, keepdims=True), neighbours.shape[1], axis=1)
    if rule.name == "m2":
        most = np.arange(neighbours.shape[1]) == shared.argmax(axis=1)[:, None]
        return most & (shared > 0)
    scales = _field(dataset, "scales", rule)
    allowed = (shared > 0) & (shared / np.maximum(observations.counts, 1)[:, None] >= rule.min_overlap)
    image, column = np.nonzero(allowed)
    change = observations.scale_changes(
        np.concatenate([scales[span] for span in spans]), image, neighbours[image, column]
    )
    allowed[image, column] = change <= rule.max_scale_change
    return allowed


def _field(dataset: SfMDataset, name: str, rule: PositiveRule) -> np.ndarray:
    values: np.ndarray | None = getattr(dataset, name)
    if values is None:
        raise ValueError(
            f"`dataset` must have `{name}` for positives by {rule.name!r}. Reconstructed models have centres, points "
            f"and scales, published lists have pairs. Received: positive={rule.name!r}, dataset.{name}=None"
        )
    return values
