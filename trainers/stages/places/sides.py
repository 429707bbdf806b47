"""Descriptors of both sides of a dataset, at the sizes that a protocol or the user asks for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from export.source import Size, read_size
from keras_sare.datasets import PlaceDataset
from keras_sare.evaluation.evaluation_record import Stage
from serving.descriptors.descriptor_model import DescriptorModel
from serving.descriptors.resumable import DescriptorFiles


class Sides:
    """Descriptors of queries and database images by model, kept in files.

    Args:
        files: where they are kept.
        dataset: of both sides.
        query_size: how the protocol resizes queries; None as the database images are.
        batch_size: images whose descriptors are extracted at a time.
    """

    def __init__(self, files: DescriptorFiles, dataset: PlaceDataset, query_size: Size | None, batch_size: int) -> None:
        self.dataset = dataset
        self._files = files
        self._query_size = query_size
        self._batch_size = batch_size
        self._stages: dict[Path, Stage] = {}

    @property
    def stages(self) -> list[Stage]:
        """What each extraction took."""
        return list(self._stages.values())

    def of(self, model: DescriptorModel, size: Size | None = None, named: str = "") -> tuple[np.ndarray, np.ndarray]:
        """Descriptors of the queries, float32 [Q, D], and of the database, [N, D], memory maps.

        Args:
            model: to extract what is not there yet.
            size: of all images, in place of the model's and the protocol's.
            named: the size as the user wrote it, for the stages.

        Raises:
            ValueError: the two sides have descriptors of different lengths.
        """
        query_size = size or self._query_size
        of_queries = model if query_size is None else model.resizing_to(query_size)
        of_database = model if size is None else model.resizing_to(size)
        suffix = "" if size is None else f" of size {named}"
        queries = self._extracted(of_queries, self.dataset.queries.paths, f"extract queries{suffix}")
        database = self._extracted(of_database, self.dataset.database.paths, f"extract database{suffix}")
        if queries.shape[1] != database.shape[1]:
            raise ValueError(
                f"`models` must have descriptors of one length. Received: {model.name} with {queries.shape[1]} numbers "
                f"for queries and {database.shape[1]} for database images"
            )
        return queries, database

    def _extracted(self, model: DescriptorModel, paths: np.ndarray, stage: str) -> np.ndarray:
        descriptors = self._files.of(model, paths, self._batch_size)
        place = self._files.place(model, paths)
        cost = self._files.cost(model, paths)
        if cost and place not in self._stages:  # What two sizes share was extracted once.
            self._stages[place] = Stage(model.name, stage, cost.images, cost.seconds, cost.peak_bytes)
        return descriptors


def image_sizes(given: Sequence[str]) -> dict[str, Size]:
    """Sizes by how the user wrote them: the longer side, shorter:PIXELS, or HEIGHTxWIDTH.

    Raises:
        ValueError: one is none of these.
    """
    try:
        return {text: read_size(text.split("x")) for text in given}
    except ValueError as error:
        raise ValueError(
            "`image_sizes` must be longer sides, shorter:PIXELS or HEIGHTxWIDTH, for example 320,640 or 240x320. "
            f"Received: image_sizes={','.join(given)}"
        ) from error
