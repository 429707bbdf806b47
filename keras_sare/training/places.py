"""A dataset together with what the model is fed for each of its images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_sare.datasets import PlaceDataset
from keras_sare.training.augmented_inputs import AugmentedInputs
from keras_sare.training.describer import Describer
from keras_sare.training.inputs import ImageInputs, Inputs
from keras_sare.training.settings import TrainingSettings
from keras_sare.utils.arrays import array_within


def image_inputs(dataset: PlaceDataset, size: tuple[int, int]) -> ImageInputs:
    """Pixels of all images of a dataset: database first, then queries, so a query's id is database size + index."""
    return ImageInputs(dataset.paths, size)


@dataclass(frozen=True)
class Places:
    """A dataset and its inputs; ids run over the database, then over the queries.

    Attributes:
        dataset: positions.
        inputs: what `describe` feeds to a model, by id.
        settings: batch size and memory limit.
        folder: where descriptors go that do not fit the memory limit.
        stored: whether `inputs` give the stored output of the frozen layers instead of pixels.
        augmented: pixels that training steps take instead of `inputs`, changed at random; None to take `inputs`.
    """

    dataset: PlaceDataset
    inputs: Inputs
    settings: TrainingSettings
    folder: Path
    stored: bool = False
    augmented: AugmentedInputs | None = None

    def query_ids(self, queries: np.ndarray | None = None) -> np.ndarray:
        """Ids of queries, all by default."""
        chosen = np.arange(len(self.dataset.queries)) if queries is None else queries
        return chosen + len(self.dataset.database)

    def describe(self, describer: Describer, ids: np.ndarray, description: str) -> np.ndarray:
        """Descriptors [len(ids), dim] of some images, float32, on every worker; all must make this call."""
        out = array_within(self.settings.memory_limit, (len(ids), *describer.output_shape), self.folder)
        return describer(self.inputs, ids, self.settings.extraction_batch, out, description)

    def describe_all(self, describer: Describer) -> tuple[np.ndarray, np.ndarray]:
        """Descriptors of all queries and of the whole database."""
        name = self.dataset.name
        database = self.describe(describer, np.arange(len(self.dataset.database)), f"{name} database")
        return self.describe(describer, self.query_ids(), f"{name} queries"), database
