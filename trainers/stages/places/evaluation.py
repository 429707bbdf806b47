"""Stages of `trainers.evaluate`: models, dataset, reports."""

from pathlib import Path

import numpy as np

from keras_sare.datasets import open_dataset, set_max_pixels
from keras_sare.evaluation import report_places
from keras_sare.utils.files import check_writable_folder
from trainers.config import EvaluateConfig
from trainers.stages.evaluated.evaluated import Evaluated
from trainers.stages.evaluated.open_models import open_models
from trainers.stages.evaluated.resumable import DescriptorFiles
from trainers.stages.evaluated.stored import StoredDescriptors


def evaluate_models(config: EvaluateConfig) -> str:
    """Evaluates models on a split of a dataset; returns the tables and verdicts, Markdown."""
    set_max_pixels(config.max_pixels)
    check_writable_folder(Path(config.output))
    dataset = open_dataset(config.root, config.split, config.prefix)
    models = {model.name: model for model in open_models(config)}
    if not all(isinstance(model, StoredDescriptors) for model in models.values()):
        dataset = dataset.check_images(config.max_corrupt_share)
    descriptors = DescriptorFiles(Path(config.output) / "descriptors")

    def both_sides(model: Evaluated) -> tuple[np.ndarray, np.ndarray]:
        queries, database = (
            descriptors.of(model, side.paths, config.batch) for side in (dataset.queries, dataset.database)
        )
        return queries, database

    return report_places(models, dataset, both_sides, Path(config.output), config.radius)
