"""A dataset together with what the model is fed for each of its images."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_sare.datasets import PlaceDataset
from keras_sare.models import Extractor
from keras_sare.training.inputs import ImageInputs, Inputs, store_trunk, stored_bytes
from keras_sare.training.settings import TrainingSettings
from keras_sare.utils.arrays import array_within

logger = logging.getLogger(__name__)


def image_inputs(dataset: PlaceDataset, size: tuple[int, int]) -> ImageInputs:
    """Pixels of all images of a dataset: database first, then queries, so a query's id is database size + index."""
    return ImageInputs(np.concatenate([dataset.database.paths, dataset.queries.paths]), size)


@dataclass(frozen=True)
class Places:
    """A dataset and its inputs; ids run over the database, then over the queries.

    Attributes:
        dataset: positions.
        inputs: what `describe` feeds to a model, by id.
        settings: batch size and memory limit.
        folder: where descriptors go that do not fit the memory limit.
    """

    dataset: PlaceDataset
    inputs: Inputs
    settings: TrainingSettings
    folder: Path

    def query_ids(self, queries: np.ndarray | None = None) -> np.ndarray:
        """Ids of queries, all by default."""
        chosen = np.arange(len(self.dataset.queries)) if queries is None else queries
        return chosen + len(self.dataset.database)

    def describe(self, extractor: Extractor, ids: np.ndarray, description: str) -> np.ndarray:
        """Descriptors [len(ids), dim] of some images, float32."""
        out = array_within(self.settings.memory_limit, (len(ids), *extractor.output_shape), self.folder)
        batches = self.inputs.batches(ids, self.settings.extraction_batch)
        return extractor(batches, len(ids), out, description)

    def describe_all(self, extractor: Extractor) -> tuple[np.ndarray, np.ndarray]:
        """Descriptors of all queries and of the whole database."""
        name = self.dataset.name
        database = self.describe(extractor, np.arange(len(self.dataset.database)), f"{name} database")
        return self.describe(extractor, self.query_ids(), f"{name} queries"), database


def open_places(
    datasets: Mapping[str, PlaceDataset],
    trunk: keras.Model,
    size: tuple[int, int],
    settings: TrainingSettings,
    folder: Path,
    store_limit: float,
) -> tuple[dict[str, Places], bool]:
    """Opens the splits of a dataset for training, with the frozen layers' output stored where it fits.

    The output of layers that are not trained is the same in every epoch: it is computed once per image and read back.

    Args:
        datasets: by split.
        trunk: the layers that are not trained.
        size: (height, width) that images are resized to.
        settings: of the run.
        folder: where the output goes, and descriptors larger than memory.
        store_limit: bytes of disk for the output. Where it does not fit, the inputs are pixels.

    Returns:
        The places by split, and whether their inputs are the stored output of `trunk` instead of pixels.
    """
    images = {name: image_inputs(dataset, size) for name, dataset in datasets.items()}
    needed = sum(stored_bytes(trunk, one) for one in images.values())
    stored = needed <= store_limit
    logger.info(
        "Output of the frozen layers: %.2f GB of disk, %.0f allowed: %s",
        needed / 1e9,
        store_limit / 1e9,
        "stored" if stored else "not stored, computed again at every step",
    )
    inputs: dict[str, Inputs] = dict(images)
    if stored:
        batch = settings.extraction_batch
        inputs = {name: store_trunk(folder, trunk, one, batch) for name, one in images.items()}
    places = {name: Places(datasets[name], inputs[name], settings, folder / "spill") for name in datasets}
    return places, stored
