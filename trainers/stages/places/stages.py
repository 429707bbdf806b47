"""Stages of `trainers.pitts`: dataset, model, training, whitening, evaluation."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import keras
import numpy as np

from keras_sare import models
from keras_sare.datasets import Augmentation, PlaceDataset, set_max_pixels
from keras_sare.distribution import Workers, choose_strategy
from keras_sare.evaluation import report_places
from keras_sare.evaluation.evaluation_record import write_record
from keras_sare.evaluation.place_report import SavedModel
from keras_sare.evaluation.protocols import named_protocol
from keras_sare.extraction import Extractor
from keras_sare.losses import PlaceBatchLoss, TupleLoss
from keras_sare.training import (
    AugmentedInputs,
    Places,
    PlaceSettings,
    RecallValidation,
    RunFolder,
    Trainer,
    open_places,
)
from keras_sare.training.checkpoints.model_choice import ModelChoice
from keras_sare.training.feature_store.open_feature_store import KEPT_FREE
from keras_sare.utils.choices import check_choice
from keras_sare.utils.files import check_writable_folder
from trainers.config import PittsConfig
from trainers.config.recipes import RECIPES
from trainers.stages.checks import check_room, disk_needed, spilled
from trainers.stages.fitted import fit_clusters, fit_refreshes
from trainers.stages.losses import PLACE_SCALES, place_losses, scale_of
from trainers.stages.places.checks import (
    candidate_dims,
    check_datasets,
    headings_rule,
    list_datasets,
    sample_ids,
    warn_of_whitened_tests,
    whitening_sample,
)
from trainers.stages.places.fed import fed
from trainers.stages.places.gain import warn_of_chance
from trainers.stages.places.whitening import WhiteningStage
from trainers.stages.run import Run, check_folder, store_folder, with_run_settings
from trainers.stages.starting_model import open_start

logger = logging.getLogger("keras_sare.pitts")

CLUSTERING_IMAGES = 500
"""Of the training database, as in NetVLAD."""


@dataclass(frozen=True)
class PlaceRun(Run[PittsConfig, PlaceSettings]):
    """A training on places.

    Attributes:
        augmentation: of the training images; None for none.
        datasets: the splits "train", "val" and "test".
    """

    augmentation: Augmentation | None
    datasets: dict[str, PlaceDataset]


def open_run(config: PittsConfig) -> PlaceRun:
    """Checks the configuration, the folder and the dataset, and fits what is not given; writes nothing."""
    config.check()
    set_max_pixels(config.max_pixels)
    config = with_run_settings(config.completed(RECIPES[config.recipe].given_settings))
    config = fit_refreshes(config)
    check_choice("loss", config.loss, sorted(place_losses()))
    _loss(config)  # A number that it cannot take is told before anything is read.
    if not config.starts_from_model:
        check_choice("model", config.model, sorted(models.PRESETS))
        if config.preprocessing:
            check_choice("preprocessing", config.preprocessing, models.PREPROCESSING)
    listed = list_datasets(config)
    # What the dataset decides where no setting does.
    config = config.changed({name: getattr(listed["train"], name) for name in ("min_positive", "other_timestamps")})
    settings = config.settings()
    augmentation = _augmentation(config)
    farther = f", farther than {settings.min_positive:g} m" if settings.min_positive else ""
    keras.utils.set_random_seed(settings.seed)
    strategy = choose_strategy(config.logical_cpus)
    folder = RunFolder(config.output)
    check_folder(folder, config)
    looking = headings_rule(config, listed["train"])
    logger.info("Training positives: %s%s%s", listed["train"].criterion(settings.positive_radius), farther, looking)
    check_writable_folder(store_folder(config))
    config, datasets = check_datasets(config, listed, strategy.num_replicas_in_sync)
    check_folder(folder, config)  # Once more: of a resumed run the images may be fewer now.
    warn_of_whitened_tests(config, datasets)
    return PlaceRun(config, config.settings(), strategy, Workers(strategy), folder, augmentation, datasets)


def check_model(run: PlaceRun) -> None:
    """Checks that the model can be built and trained as the settings say; writes nothing.

    Raises:
        ValueError: it cannot.
        OSError: its weights cannot be read.
    """
    model = _build(run)
    if run.config.whitening != "none":
        _fit_dimension(run, model)
    models.freeze_before(model, run.config.train_from)


def make_off_the_shelf(run: PlaceRun) -> PlaceRun:
    """Builds or opens the model where the run has none, gives NetVLAD its clusters, and saves it."""
    if run.folder.off_the_shelf.is_file():
        return run
    model = _build(run)
    fitted = fit_clusters(run.config, model, len(run.datasets["train"].database))
    if fitted != run.config:
        run = run.reconfigured(fitted)
        model = _build(run)
    run = begin(run, model)
    netvlad = models.netvlad_layer(model)
    places = open_inputs_of(run, model)["train"] if netvlad and not netvlad.is_initialised else None

    def write() -> None:
        if places:
            fed_to = run.config.train_from if places.stored else None
            batches = _sample(places, CLUSTERING_IMAGES, run.settings.seed)
            models.initialise_netvlad(model, batches, run.settings.seed, fed_to)
        run.folder.save_model(model, run.folder.off_the_shelf)

    run.write_once(write)
    return run


def begin(run: PlaceRun, model: keras.Model) -> PlaceRun:
    """Freezes what is not trained, and makes the run's folder where the model fits the settings and the disk."""
    if run.config.whitening != "none":
        run = _fit_dimension(run, model)
    models.freeze_before(model, run.config.train_from)
    check_room(run.folder.path, *_disk_needed(run, model), run.store)
    run.write_once(lambda: run.folder.write_settings(run.config.recorded()))
    return run


def open_inputs_of(run: PlaceRun, model: keras.Model) -> dict[str, Places]:
    """The splits, with the output of the model's frozen part stored as far as it fits."""
    trunk, _ = models.split(model, run.config.train_from)
    options: dict[str, Any] = {"dtype": run.config.store_dtype, "strategy": run.strategy, "times": run.times}
    options["kept_free"] = max(KEPT_FREE, sum(_disk_needed(run, model)))
    size = run.config.image_size
    limit = run.config.store_gb * 1e9
    return open_places(run.datasets, trunk, size, run.settings, run.store, limit, **options)


def fit(run: PlaceRun, model: keras.Model, places: dict[str, Places]) -> int:
    """Trains, and returns the kept epoch."""
    config = run.config
    trunk, head = models.split(model, config.train_from)
    train = places["train"]
    if run.augmentation:
        how = run.augmentation, run.settings.seed, run.settings.orientation, models.antialiases(model)
        train = replace(train, augmented=AugmentedInputs(train.dataset.paths, config.image_size, *how))
    # Where the frozen part's output is stored, that part keeps float32: the store does not depend on the precision.
    models.set_precision(head if train.stored else model, config.precision)
    loss = _loss(config)
    validation = RecallValidation(places["val"])
    trainer = Trainer(head, loss, train, validation, run.folder.path, run.strategy, trunk)
    state = trainer.fit(run.seconds_before())
    models.set_precision(model, "float32")
    if state.best_epoch:
        warn_of_chance(run, model, places["val"], lambda one: fed(one, places["val"], config.train_from))
    return state.best_epoch


def whiten(run: PlaceRun, model: keras.Model, places: dict[str, Places], kept_epoch: int) -> ModelChoice:
    """Writes the finished model."""
    sample = whitening_sample(run.config, places["train"].dataset)

    def trained_part(one: keras.Model) -> keras.Model:
        return fed(one, places["train"], run.config.train_from)

    stage = WhiteningStage(run, places, trained_part, run.config.whitening, candidate_dims(run.config), sample)
    return stage.finish(model, kept_epoch)


def report(run: PlaceRun, choice: ModelChoice, places: Places) -> str:
    """Evaluates what is in the files; returns the tables and the verdict, on workers that are not the chief ""."""
    files = {"off the shelf": run.folder.off_the_shelf.name, **choice.files}
    loaded = {name: run.load(run.folder.path / file) for name, file in files.items()}
    compared = {name: fed(model, places, run.config.train_from) for name, model in loaded.items()}

    def extract(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
        return places.extract_all(Extractor(model, run.strategy))

    folder = run.folder.path
    saved = SavedModel(choice.saved, choice.reason)
    protocol = named_protocol("own").changed(radius=run.settings.negative_radius)
    if run.workers.is_chief:
        write_record(folder, protocol)
    return report_places(compared, places.dataset, extract, folder, protocol, run.workers.is_chief, saved)


def _build(run: PlaceRun) -> keras.Model:
    config = run.config
    with run.strategy.scope():
        if config.starts_from_model:
            return open_start(config.weights, config.image_size)
        return models.build(config.model, config.weights, preprocessing=config.preprocessing, clusters=config.clusters)


def _loss(config: PittsConfig) -> TupleLoss:
    scale = scale_of(config.loss, config.loss_scale, PLACE_SCALES)
    loss = place_losses(config.kernel, config.temperature)[config.loss](scale)
    if "temperature" in config.given and not hasattr(loss, "temperature"):
        raise ValueError(
            "`temperature` is a number of sare_independent, sare_joint and info_nce: leave it out. "
            f"Received: temperature={config.temperature}, loss={config.loss!r}"
        )
    return PlaceBatchLoss(loss) if config.batches == "places" else loss


def _fit_dimension(run: PlaceRun, model: keras.Model) -> PlaceRun:
    width = model.output.shape[-1]
    fitted = run.config.lowered("dim", width, f"what {model.name} gives")
    if fitted.dim > width:
        raise ValueError(f"`dim` must be at most {width}, what {model.name} gives. Received: dim={fitted.dim}")
    return run.reconfigured(fitted)


def _disk_needed(run: PlaceRun, model: keras.Model) -> tuple[float, float]:
    """Bytes of models and checkpoints, and of descriptors."""
    counts = [(len(data.database), len(data.queries)) for data in run.datasets.values()]
    dim = 0 if run.config.whitening == "none" else run.config.dim
    return disk_needed(model, run.settings, dim), spilled(counts, model.output.shape[-1], run.settings)


def _augmentation(config: PittsConfig) -> Augmentation | None:
    known = {field.name for field in fields(Augmentation)}
    try:
        changes: dict[str, Any] = {name: float(value) for name, value in (part.split("=") for part in config.augment)}
    except ValueError:
        changes = {"": 0.0}
    if not changes.keys() <= known:
        raise ValueError(
            f"`augment` must give numbers to some of {', '.join(sorted(known))}, for example brightness=0.2,flip=1. "
            f"Received: augment={','.join(config.augment)}"
        )
    augmentation = Augmentation(**{**changes, "flip": bool(changes.get("flip"))})
    return None if augmentation == Augmentation() else augmentation


def _sample(places: Places, count: int, seed: int) -> Iterator[Any]:
    """Batches of what the model is fed for `count` random database images."""
    ids = sample_ids(len(places.dataset.database), count, seed)
    return (inputs for _, inputs in places.inputs.batches(ids, places.settings.extraction_batch))
