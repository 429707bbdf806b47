"""Stages of `trainers.evaluate`: models, dataset, reports."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sare.datasets import open_dataset, set_max_pixels
from keras_sare.evaluation import report_places
from keras_sare.extraction import extract
from keras_sare.models.model_file import open_model_file
from keras_sare.training import RunFolder
from keras_sare.training.checkpoints.run_folder import orientation_of
from keras_sare.utils.files import check_writable_folder
from trainers.config import EvaluateConfig


def evaluate_models(config: EvaluateConfig) -> str:
    """Evaluates models on a split of a dataset; returns the tables and verdicts, Markdown."""
    set_max_pixels(config.max_pixels)
    check_writable_folder(Path(config.output))
    dataset = open_dataset(config.root, config.split, config.prefix)
    size, orientation = _reading(config)
    models = {Path(path).stem: _open(Path(path)) for path in config.models}
    if len(models) < len(config.models):
        raise ValueError(f"`models` must differ in their names. Received: models={','.join(config.models)}")
    dataset = dataset.check_images(config.max_corrupt_share)

    def both_sides(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
        how: dict[str, Any] = {"size": size, "batch_size": config.batch, "orientation": orientation}
        return extract(model, dataset.queries.paths, **how), extract(model, dataset.database.paths, **how)

    return report_places(models, dataset, both_sides, Path(config.output), config.radius)


def _open(path: Path) -> keras.Model:
    return RunFolder(path).load_model() if path.is_dir() else open_model_file(path)


def _reading(config: EvaluateConfig) -> tuple[tuple[int, int] | int, str]:
    """Size and orientation of the images: as settings say, or else as the first run among the models trained."""
    folders = [RunFolder(path) for path in config.models if RunFolder(path).is_run]
    trained = folders[0].settings if folders else {}
    sides = config.image_size or trained.get("image_size")
    if not sides or len(sides) > 2 or not all(str(side).isdecimal() and int(side) for side in sides):
        raise ValueError(
            "`image_size` must be height,width in pixels, or the most pixels of the longer side, where no model is a "
            f"run of trainers.pitts. Received: image_size={','.join(map(str, sides or ()))}"
        )
    numbers = [int(side) for side in sides]
    size = numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])
    return size, config.orientation or (orientation_of(trained) if trained else "upright")
