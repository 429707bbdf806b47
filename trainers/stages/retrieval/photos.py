"""What `trainers.retrieval_sfm` and `trainers.retrieval_table` share: the photos of a run, and the table."""

import os
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from keras_sare.datasets import (
    ImageFolder,
    LandmarkDataset,
    SfMDataset,
    read_landmarks,
    set_max_pixels,
    split_clusters,
    without_models_of,
)
from keras_sare.datasets.images.readable_images import readable_images
from keras_sare.datasets.sfm.retrieval_sfm import read_retrieval_sfm
from keras_sare.evaluation import ComparisonSettings, MatchingPairs, RetrievalComparison
from keras_sare.evaluation.model_names import kept_name
from keras_sare.mining import matching_pairs
from keras_sare.retrieval import DiffusionSettings
from keras_sare.training import RunFolder
from keras_sare.training.checkpoints.run_changes import last_state
from keras_sare.training.checkpoints.run_folder import orientation_of
from keras_sare.utils.files import check_writable_folder
from keras_sare.utils.nvidia import warn_of_unseen_device
from keras_sare.whitening import warn_of_overlap
from trainers.config import RetrievalConfig, TableConfig
from trainers.stages.photo_memory import photo_memory

OFF_THE_SHELF = "off the shelf"
FINE_TUNED = "fine-tuned"
"""What the models before and after training are called."""


def open_photos(config: RetrievalConfig) -> dict[str, SfMDataset]:
    """Opens the photos that a run trains and validates on. No photo is read.

    Args:
        config: of the run.

    Returns:
        "train" and "val".

    Raises:
        ValueError: the dataset or a setting is not as it should be.
    """
    if config.is_published:
        return _open_published(config)
    photos = SfMDataset.load(config.dataset)
    if config.leave_out:
        lines = Path(config.leave_out).read_text().splitlines()
        names = [line.strip() for line in lines if line.strip()]
        photos = without_models_of(photos, np.array(names, np.dtypes.StringDType()))
    train, val = split_clusters(photos, config.val_share, config.seed)
    return {"train": train, "val": val}


def readable_photos(
    splits: Mapping[str, SfMDataset], max_corrupt_share: float, memory: Path | None = None
) -> dict[str, SfMDataset]:
    """Leaves out photos that cannot be read.

    Args:
        splits: "train" and "val".
        max_corrupt_share: of a split, at most.
        memory: folder that remembers which photos could be read.

    Raises:
        ValueError: these are more than `max_corrupt_share` of a split.
    """
    return {name: photos.check_images(max_corrupt_share, memory) for name, photos in splits.items()}


def pairs_of(photos: SfMDataset) -> MatchingPairs:
    """The pairs of photos that whitening is learned from."""
    return MatchingPairs(photos.paths, *matching_pairs(photos))


def load_models(run: RunFolder) -> dict[str, keras.Model]:
    """Loads a run's models before and after training, without whitening; one that kept epoch 0 is called untrained.

    Raises:
        FileNotFoundError: the run has not finished.
    """
    kept_epoch = last_state(run.path / "checkpoints").get("best_epoch", 1)
    trained = kept_name(kept_epoch, FINE_TUNED)
    # Earlier versions wrote no choice, and the model without whitening always under this name.
    file = run.choice.files[trained] if run.choice else run.unwhitened.name
    files = {OFF_THE_SHELF: run.off_the_shelf, trained: run.path / file}
    if missing := [path for path in files.values() if not path.is_file()]:
        raise FileNotFoundError(
            f"The run in {str(run.path)!r} has no {missing[0].name}: it has not finished, or is none of "
            "trainers.retrieval_sfm. Continue it with --resume."
        )
    return {name: keras.saving.load_model(path) for name, path in files.items()}


def open_table(
    landmarks: LandmarkDataset,
    photos: SfMDataset,
    independent: str | None,
    max_corrupt_share: float,
    settings: ComparisonSettings,
    run: RunFolder,
    folder: str | None = None,
) -> RetrievalComparison:
    """Checks all that the table of a run is made of, and writes nothing: `compare` makes the table.

    What cannot be read is left out. A warning is given where the test set holds images that whitening is learned from.

    Args:
        landmarks: the test set.
        photos: that the models are trained on, for learned whitening.
        independent: folder of images of other places, for PCA whitening; None for no such row.
        max_corrupt_share: of the images, at most.
        settings: the numbers.
        run: of the models.
        folder: where the tables and pictures go; by default a folder in the run's.

    Raises:
        ValueError: images are missing, or too many cannot be read.
        FileExistsError: the folder holds a table of other settings.
        OSError: the folder cannot be written.
    """
    target = Path(folder or run.path / landmarks.name)
    check_writable_folder(target)
    landmarks = landmarks.check_images(max_corrupt_share, photo_memory(Path(landmarks.queries[0]).parent))
    tested = _names(landmarks.queries) + _names(landmarks.database)
    warn_of_overlap(_names(photos.paths), tested)
    others = None if independent is None else ImageFolder(independent).paths()
    if others is not None:
        others = others[readable_images(others, str(independent), "PCA whitening", max_corrupt_share)]
        warn_of_overlap(_names(others), tested)
    origin = os.path.relpath(run.path, target)  # Both may be moved together.
    return RetrievalComparison(landmarks, pairs_of(photos), others, settings, target, origin)


def open_comparison(config: TableConfig) -> tuple[dict[str, keras.Model], RetrievalComparison]:
    """Reads the run and the test set; writes nothing.

    Returns:
        The models by name, and what compares them.
    """
    set_max_pixels(config.max_pixels)
    warn_of_unseen_device()
    run = RunFolder(config.run)
    models = load_models(run)
    landmarks = read_landmarks(config.ground_truth, config.images)
    if config.distractors:
        landmarks = landmarks.with_distractors(ImageFolder(config.distractors).paths())
    trained_with = RetrievalConfig().completed(run.settings)
    memory = photo_memory(trained_with.dataset)
    photos = readable_photos(open_photos(trained_with), trained_with.max_corrupt_share, memory)["train"]
    diffusion = (
        DiffusionSettings(k=config.diffusion_k, query_k=config.diffusion_query_k) if config.diffusion_k else None
    )
    settings = ComparisonSettings(
        longer_side=config.longer_side,
        scales=config.scales,
        crop=config.crop,
        orientation=config.orientation or orientation_of(run.settings),
        rerank=config.rerank,
        expand=config.expand,
        diffusion=diffusion,
        batch_size=config.batch,
    )
    share = config.max_corrupt_share
    return models, open_table(landmarks, photos, config.pca_images, share, settings, run, config.output)


def _open_published(config: RetrievalConfig) -> dict[str, SfMDataset]:
    source = config.dataset
    if not config.images:
        raise ValueError(
            "`images` must be the folder of the photos that a published list names, such as ims/ of retrieval-SfM: add "
            f"--images=FOLDER. Received: dataset={source!r}, images={config.images!r}"
        )
    if config.leave_out:
        raise ValueError(
            "`leave_out` goes with sfm.npz only: published lists name photos by hashes, and are free of the published "
            f"test sets. Received: dataset={source!r}, leave_out={config.leave_out!r}"
        )
    return {name: read_retrieval_sfm(source, config.images, name) for name in ("train", "val")}


def _names(paths: np.ndarray) -> list[str]:
    """Of files without folders: photos and test set may be copies of one another."""
    return [Path(path).name for path in paths.tolist()]
