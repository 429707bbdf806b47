"""Images to train on or to validate with, whatever the dataset is of."""

import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from keras_sare.extraction.extractor import Extractor
from keras_sare.extraction.inputs import Inputs
from keras_sare.mining import MinedTuples
from keras_sare.training.data.augmented_inputs import AugmentedInputs
from keras_sare.training.settings.training_settings import TrainingSettings
from keras_sare.utils.arrays import array_within


class ImageDataset(Protocol):
    """What every dataset has."""

    @property
    def name(self) -> str:
        """For messages and reports."""

    @property
    def paths(self) -> np.ndarray:
        """[N] files of all images; the id of an image is its index."""


class TupleMiner(Protocol):
    """The index maths of mining, as of `keras_sare.mining.HardNegativeMiner`, which explains the methods.

    Attributes:
        trainable_queries: int64, ascending: those that can be mined.
        previous_negatives: int64 [queries, negatives], or [0, negatives] where nothing is remembered; the only state.
        most_negatives: negatives per tuple that every query could have.
        reads_descriptors: whether `mine` looks at descriptors; where it does not, none are computed for it.
    """

    trainable_queries: np.ndarray
    previous_negatives: np.ndarray
    most_negatives: int
    reads_descriptors: bool

    def required_images(self, queries: np.ndarray, epoch: int) -> np.ndarray:
        """Database images that `mine` looks at."""

    def mine(
        self, queries: np.ndarray, descriptors: np.ndarray, database: np.ndarray, epoch: int, ids: np.ndarray
    ) -> MinedTuples:
        """Positives and negatives of some queries."""


@dataclass(frozen=True, eq=False)
class TupleSource:
    """A miner, and which images it speaks of.

    Attributes:
        miner: whose database images have the ids 0..`database` - 1.
        database: number of database images.
        queries: int64 [queries], ids of the images that are the miner's queries.
        queries_of: gives the queries of an epoch, counted from 1, as the miner numbers them, in random order; not
            always equally many.
        arrange: puts some queries, int64 [W], with their cached descriptors, [W, D], in an epoch into the order in
            which steps take them; -1 at the end for each that is left out. None keeps the order of `queries_of`.
    """

    miner: TupleMiner
    database: int
    queries: np.ndarray
    queries_of: Callable[[int], np.ndarray]
    arrange: Callable[[np.ndarray, np.ndarray, int], np.ndarray] | None = None

    def check_steps(self, tuples_per_step: int) -> None:
        """Checks that an epoch has a step.

        Raises:
            ValueError: it has not.
        """
        visited = len(self.queries_of(1))
        if visited < tuples_per_step:
            raise ValueError(
                f"`tuples_per_step` must not exceed the training queries of an epoch, {visited} with a positive "
                "and, in batches of places, far enough apart. "
                f"Received: tuples_per_step={tuples_per_step}"
            )


@dataclass(frozen=True)
class TrainingImages(ABC):
    """A dataset together with what the model is fed for each of its images.

    Attributes:
        dataset: the id of an image is its index in `dataset.paths`.
        inputs: what `describe` feeds to a model, by id.
        settings: batch size and memory limit; how tuples are mined.
        folder: where descriptors go that do not fit the memory limit.
        stored: whether `inputs` give the stored output of the frozen layers instead of pixels.
        augmented: pixels that training steps take instead of `inputs`, changed at random; None to take `inputs`.
    """

    dataset: ImageDataset
    inputs: Inputs
    settings: TrainingSettings
    folder: Path
    stored: bool = False
    augmented: AugmentedInputs | None = None

    @property
    def name(self) -> str:
        """Of the dataset."""
        return self.dataset.name

    @property
    def paths(self) -> np.ndarray:
        """[N] files of the images."""
        return self.dataset.paths

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Tells the dataset from others: by the order of its images, which are known by number, and by what mining and
        validation read."""

    @abstractmethod
    def tuple_source(self) -> TupleSource:
        """Makes the miner of the training tuples.

        Raises:
            ValueError: the images do not suffice for the settings.
        """

    def extract(self, extractor: Extractor, ids: np.ndarray, description: str) -> np.ndarray:
        """Descriptors [len(ids), dim] of some images, float32, on every worker; all must make this call."""
        out = array_within(self.settings.memory_limit, (len(ids), *extractor.output_shape), self.folder)
        return extractor.extract(self.inputs, ids, self.settings.extraction_batch, out, description)


def checksum(*arrays: np.ndarray) -> str:
    """Of the values of arrays, one after the other; those of text are of names."""
    total = 0
    for array in arrays:
        if array.dtype.kind in "OTU":
            for path in array:
                total = zlib.crc32(os.fsencode(f"{path}\n"), total)
        else:
            total = zlib.crc32(np.ascontiguousarray(array).data, total)
    return f"{total:08x}"
