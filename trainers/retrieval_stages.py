"""What `trainers.retrieval_sfm` and `trainers.retrieval_table` share: the photos of a run, and the table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sare.datasets import (
    ImageFolder,
    LandmarkDataset,
    SfMDataset,
    split_clusters,
    without_models_of,
)
from keras_sare.datasets.retrieval_sfm import read_retrieval_sfm
from keras_sare.evaluation import ComparisonSettings, MatchingPairs, RetrievalComparison
from keras_sare.mining import matching_pairs
from keras_sare.training import RunFolder
from keras_sare.whitening import warn_of_overlap


def open_photos(chosen: Mapping[str, Any]) -> dict[str, SfMDataset]:
    """Opens the photos that a run trains and validates on.

    Args:
        chosen: flags of `trainers.retrieval_sfm` by name.

    Returns:
        "train" and "val", without photos that cannot be read.

    Raises:
        ValueError: the dataset or a flag is not as it should be.
    """
    splits = _open_splits(chosen)
    return {name: photos.check_images(chosen["max_corrupt_share"]) for name, photos in splits.items()}


def check_landmarks(landmarks: LandmarkDataset, photos: SfMDataset, max_corrupt_share: float) -> LandmarkDataset:
    """Leaves out what cannot be read of a test set, and warns where it holds photos that whitening is learned from.

    Args:
        landmarks: the test set.
        photos: that a model is trained on.
        max_corrupt_share: of the images, at most.
    """
    landmarks = landmarks.check_images(max_corrupt_share)
    warn_of_overlap(_names(photos.paths), _names(landmarks.queries) + _names(landmarks.database))
    return landmarks


def pairs_of(photos: SfMDataset) -> MatchingPairs:
    """The pairs of photos that whitening is learned from."""
    return MatchingPairs(photos.paths, *matching_pairs(photos))


def load_models(run: RunFolder) -> dict[str, keras.Model]:
    """Loads a run's models before and after training, without whitening.

    Raises:
        FileNotFoundError: the run has not finished.
    """
    files = {"off the shelf": run.off_the_shelf, "fine-tuned": run.unwhitened}
    if missing := [path for path in files.values() if not path.is_file()]:
        raise FileNotFoundError(
            f"The run in {str(run.path)!r} has no {missing[0].name}: it has not finished, or is none of "
            "trainers.retrieval_sfm. Continue it with --resume."
        )
    return {name: keras.saving.load_model(path) for name, path in files.items()}


def write_table(
    models: Mapping[str, keras.Model],
    photos: SfMDataset,
    landmarks: LandmarkDataset,
    independent: str | None,
    settings: ComparisonSettings,
    folder: Path,
) -> str:
    """Compares models on a test set.

    Args:
        models: see `RetrievalComparison.compare`.
        photos: that they were trained on, for learned whitening.
        landmarks: the test set.
        independent: folder of images of other places, for PCA whitening; None for no such row.
        settings: the numbers.
        folder: where the tables and pictures go.

    Returns:
        The tables, Markdown.
    """
    others = None if independent is None else ImageFolder(independent).paths()
    if others is not None:
        warn_of_overlap(_names(others), _names(landmarks.queries) + _names(landmarks.database))
    return RetrievalComparison(landmarks, pairs_of(photos), others, settings, folder).compare(models)


def _open_splits(chosen: Mapping[str, Any]) -> dict[str, SfMDataset]:
    source = Path(chosen["dataset"])
    if source.suffix == ".pkl":
        return {name: read_retrieval_sfm(source, chosen["images"], name) for name in ("train", "val")}
    photos = SfMDataset.load(source)
    if chosen["leave_out"]:
        names = Path(chosen["leave_out"]).read_text().split()
        photos = without_models_of(photos, np.array(names, np.dtypes.StringDType()))
    train, val = split_clusters(photos, chosen["val_share"], chosen["seed"])
    return {"train": train, "val": val}


def _names(paths: np.ndarray) -> list[str]:
    """Of files without folders: photos and test set may be copies of one another."""
    return [Path(path).name for path in paths.tolist()]
