"""Stages of `trainers.retrieval_sfm`: photos, model, training, whitening, table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from keras_sare import models
from keras_sare.datasets import SfMDataset, read_landmarks, set_max_pixels
from keras_sare.distribution import Workers, choose_strategy
from keras_sare.evaluation import ComparisonSettings, RetrievalComparison
from keras_sare.extraction.array_cache import ArrayCache
from keras_sare.extraction.extraction_settings import ExtractionSettings
from keras_sare.extraction.inputs import ImageInputs
from keras_sare.training import (
    MeanAveragePrecisionValidation,
    RunFolder,
    SfMPhotos,
    SfMSettings,
    Trainer,
    open_feature_store,
)
from keras_sare.training.data.tuple_checks import check_replicas
from keras_sare.training.feature_store.open_feature_store import KEPT_FREE
from keras_sare.utils.choices import check_choice
from keras_sare.utils.files import check_writable_folder
from trainers.config import RetrievalConfig
from trainers.config.recipes import RETRIEVAL_RECIPES
from trainers.stages.checks import check_room, disk_needed, spilled
from trainers.stages.fitted import fit_photos
from trainers.stages.losses import RETRIEVAL_SCALES, retrieval_losses, scale_of
from trainers.stages.photo_memory import photo_memory
from trainers.stages.retrieval.photos import load_models, open_photos, open_table, readable_photos
from trainers.stages.retrieval.whitening import RetrievalWhitening
from trainers.stages.run import Run, check_folder, store_folder, with_run_settings
from trainers.stages.starting_model import open_start

POOLINGS = ("mac", "gem", "rmac", "spoc", "crow")

TRIED_SIDE = 224
"""Of the image that a model of the user's own is tried on, in pixels."""


@dataclass(frozen=True)
class RetrievalRun(Run[RetrievalConfig, SfMSettings]):
    """A training on photos of 3D models.

    Attributes:
        splits: "train" and "val".
        table: of the models on a test set; None where there is none.
    """

    splits: dict[str, SfMDataset]
    table: RetrievalComparison | None


def open_run(config: RetrievalConfig) -> RetrievalRun:
    """Checks the configuration, the folder and the datasets, and fits what is not given; writes nothing."""
    config.check()
    set_max_pixels(config.max_pixels)
    config = with_run_settings(config.completed(RETRIEVAL_RECIPES[config.recipe].given_settings))
    check_choice("loss", config.loss, sorted(retrieval_losses()))
    if not config.starts_from_model:
        known = sorted(name for name, one in models.PRESETS.items() if one.pooling in POOLINGS)
        check_choice("model", config.model, known)
        if config.preprocessing:
            check_choice("preprocessing", config.preprocessing, models.PREPROCESSING)
    settings = config.settings()
    # The test set is read early, so that a wrong path does not show after hours.
    landmarks = read_landmarks(config.ground_truth, config.test_images) if config.ground_truth else None
    keras.utils.set_random_seed(settings.seed)
    strategy = choose_strategy(config.logical_cpus)
    folder = RunFolder(config.output)
    check_folder(folder, config)
    check_writable_folder(store_folder(config))
    config, splits = _open_splits(config, strategy.num_replicas_in_sync)
    check_folder(folder, config)  # Once more: of a resumed run the photos may be fewer now.
    table = None
    if landmarks:
        share = config.max_corrupt_share
        compared = ComparisonSettings(orientation=config.orientation)
        table = open_table(landmarks, splits["train"], config.pca_images, share, compared, folder)
    return RetrievalRun(config, config.settings(), strategy, Workers(strategy), folder, splits, table)


def make_off_the_shelf(run: RetrievalRun) -> None:
    """Builds or opens the model where the run has none, and saves it."""
    if run.folder.off_the_shelf.is_file():
        return
    config = run.config
    with run.strategy.scope():
        if config.starts_from_model:
            model = open_start(config.weights, (TRIED_SIDE, TRIED_SIDE))
        else:
            model = models.build(config.model, config.weights, preprocessing=config.preprocessing)
    begin(run, model)
    run.write_once(lambda: run.folder.save_model(model, run.folder.off_the_shelf))


def begin(run: RetrievalRun, model: keras.Model) -> None:
    """Freezes what is not trained, and makes the run's folder where the model fits the settings and the disk."""
    models.freeze_before(model, run.config.train_from)
    check_room(run.folder.path, *_disk_needed(run, model), run.store)
    run.write_once(lambda: run.folder.write_settings(run.config.recorded()))


def fit(run: RetrievalRun, model: keras.Model) -> int:
    """Trains, and returns the kept epoch."""
    config = run.config
    trunk, head = models.split(model, config.train_from)
    options: dict[str, Any] = {"dtype": config.store_dtype, "strategy": run.strategy, "times": run.times}
    options["kept_free"] = max(KEPT_FREE, sum(_disk_needed(run, model)))
    paths = {name: data.paths for name, data in run.splits.items()}
    limit = config.store_gb * 1e9
    inputs, stored = open_feature_store(paths, trunk, config.longer_side, run.settings, run.store, limit, **options)
    photos = {
        name: SfMPhotos(data, inputs[name], run.settings, run.store / "spill", stored)
        for name, data in run.splits.items()
    }
    models.set_precision(head if stored else model, config.precision)
    validation = MeanAveragePrecisionValidation(photos["val"])
    scale = scale_of(config.loss, config.loss_scale, RETRIEVAL_SCALES)
    loss = retrieval_losses(config.tau)[config.loss](scale)
    trainer = Trainer(head, loss, photos["train"], validation, run.folder.path, run.strategy, trunk)
    state = trainer.fit(run.seconds_before())
    models.set_precision(model, "float32")
    return state.best_epoch


def whiten(run: RetrievalRun, model: keras.Model, kept_epoch: int) -> str:
    """Writes the finished model; returns how good it is on the validation photos, ""  where another worker tells."""
    config = run.config
    told = []
    kept = run.table.cache if run.table else ArrayCache(run.folder.path)
    how = ExtractionSettings(
        longer_side=config.whitening_side, batch_size=config.extraction_batch, orientation=config.orientation
    )
    validation = MeanAveragePrecisionValidation(_unread(config, run.splits["val"]))
    stage = RetrievalWhitening(run, run.splits["train"], validation, kept, how, config.whitening, config.dim)

    def write() -> None:
        told.append(stage.finish(run.load(run.folder.off_the_shelf), model, kept_epoch))
        if not run.table:  # It needs the descriptors once more.
            kept.clear()

    run.write_once(write)
    return "".join(told)


def compare(run: RetrievalRun) -> str:
    """The table of the run's models on the test set; "" where there is none, or another worker makes it."""
    return run.table.compare(load_models(run.folder)) if run.table and run.workers.is_chief else ""


def _open_splits(config: RetrievalConfig, replicas: int) -> tuple[RetrievalConfig, dict[str, SfMDataset]]:
    """Photos that can be read and suffice for training and validation, to which numbers not given are fitted."""
    named = open_photos(config)
    config = _check_sufficient(config, named, replicas)  # Before all photos are decoded.
    splits = readable_photos(named, config.max_corrupt_share, photo_memory(config.dataset))
    if any(len(splits[name]) < len(named[name]) for name in named):
        config = _check_sufficient(config, splits, replicas)
    return config, splits


def _check_sufficient(config: RetrievalConfig, splits: dict[str, SfMDataset], replicas: int) -> RetrievalConfig:
    """Makes a miner and the validation as training does, which check the photos."""
    config = fit_photos(config, splits["train"], replicas)
    check_replicas(config.settings(), replicas)
    MeanAveragePrecisionValidation(_unread(config, splits["val"]))
    return config


def _unread(config: RetrievalConfig, photos: SfMDataset) -> SfMPhotos:
    """Photos of which none is going to be read as a model's input."""
    size = config.longer_side, config.longer_side
    return SfMPhotos(photos, ImageInputs(photos.paths, size), config.settings(), Path(config.output))


def _disk_needed(run: RetrievalRun, model: keras.Model) -> tuple[float, float]:
    """Bytes of the run's folder, with the descriptors that whitening is learned from, and of others."""
    width = model.output.shape[-1]
    kept = 4.0 * len(run.splits["train"]) * width
    counts = [(len(data),) for data in run.splits.values()]
    return disk_needed(model, run.settings, min(run.config.dim, width)) + kept, spilled(counts, width, run.settings)
