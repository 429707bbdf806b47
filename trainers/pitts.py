"""Trains a place-recognition model as NetVLAD and SARE do on Pittsburgh: from photos to whitened model and recall.

    python -m trainers.pitts --root=PITTS --output=runs/pitts30k

The defaults are the papers' for Pitts30k: SARE on tuples of one positive and ten hard negatives, VGG16 trained down to
conv5_1. Published on Pitts250k-test: recall@1 0.86 for NetVLAD, 0.89 for SARE. A killed run goes on with --resume.
`--epochs=1 --image_size=96,128` makes a quick trial.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import app, flags

from keras_sare import models
from keras_sare.datasets import Augmentation, PlaceDataset, open_splits
from keras_sare.datasets.images.orientation import ORIENTATIONS
from keras_sare.distribution import Workers, choose_strategy
from keras_sare.evaluation import report_places
from keras_sare.evaluation.place_report import SavedModel
from keras_sare.extraction.extractor import Extractor
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
from keras_sare.training.data.tuple_checks import check_replicas
from keras_sare.training.feature_store.open_feature_store import KEPT_FREE
from keras_sare.utils.error_text import expected_errors
from keras_sare.utils.files import check_writable_folder
from keras_sare.whitening import warn_of_overlap
from trainers.checks import check_places, check_room, check_whitening, disk_needed, distinct_images, spilled
from trainers.fitted import fit_clusters, fit_flag, fit_places, fit_refreshes
from trainers.losses import LOSS_SCALES, PLACE_SCALES, place_losses, scale_of
from trainers.recipes import RECIPES
from trainers.stages import Run, adopt_settings, apply_recipe, chosen_flags, start
from trainers.starting_model import check_start, is_model_file, open_start
from trainers.whitening_stage import WHITENING, WhiteningStage

logger = logging.getLogger("keras_sare.pitts")

WHITENING_IMAGES = 10_000
"""Of the training database, as in NetVLAD."""

FLAGS, DEFAULTS = flags.FLAGS, PlaceSettings()
flags.DEFINE_enum("recipe", "pitts30k", sorted(RECIPES), "Values of the flags that are not given.")
flags.DEFINE_string("root", None, "Dataset: datasets/*.mat or places.csv, images/, queries/.", required=True)
flags.DEFINE_string("prefix", "", "Start of the .mat files' names, where --root holds several datasets.")
flags.DEFINE_string("output", None, "Folder of the run; new, or an earlier run's with --resume.", required=True)
flags.DEFINE_string("weights", "imagenet", "'imagenet', a weights file, or a model of your own: a .keras file.")
flags.DEFINE_enum("preprocessing", None, sorted(models.PREPROCESSING), "What the weights want, where not known.")
flags.DEFINE_enum("model", "vgg16_netvlad", sorted(models.PRESETS), "Preset to build.")
flags.DEFINE_integer("clusters", 64, "NetVLAD clusters.", lower_bound=2)
flags.DEFINE_string("train_from", "conv5_1", "First layer that is trained; ResNet: conv5_block1_1_conv.")
flags.DEFINE_list("image_size", ["480", "640"], "height,width that images are resized to.")
flags.DEFINE_enum("orientation", DEFAULTS.orientation, ORIENTATIONS, "Photos as viewers show them, or as stored.")
flags.DEFINE_enum("loss", "sare_independent", sorted(place_losses()), "Loss over tuples.")
flags.DEFINE_enum("loss_scale", "published", LOSS_SCALES, "Of the gradient: as its authors' code, or mean over tuples.")
flags.DEFINE_enum("kernel", "gaussian", ["gaussian", "cauchy", "exponential"], "Kernel of SARE.")
flags.DEFINE_integer("negatives", DEFAULTS.negatives, "Hard negatives per tuple.", lower_bound=1)
flags.DEFINE_enum("mining", DEFAULTS.mining, ["random", "full"], "Negatives from a random pool or the whole database.")
flags.DEFINE_bool("database_queries", False, "Take database images as queries of tuples too.")
flags.DEFINE_float(
    "min_positive", None, "Metres that positives exceed; by default 1 for .mat files, 0 for places.csv.", lower_bound=0
)
flags.DEFINE_float("positive_radius", DEFAULTS.positive_radius, "Metres within which positives are.")
flags.DEFINE_float("negative_radius", DEFAULTS.negative_radius, "Metres beyond which negatives are; of evaluation too.")
flags.DEFINE_bool("other_timestamps", None, "Positives have another timestamp than the query; by default TokyoTM's.")
flags.DEFINE_integer("refresh_every", DEFAULTS.refresh_every, "Queries between refreshes of the cache.", lower_bound=1)
flags.DEFINE_list("augment", [], "Random changes, such as brightness=0.2,scale=0.1: the fields of Augmentation.")
flags.DEFINE_integer("tuples_per_step", DEFAULTS.tuples_per_step, "Tuples in a batch.", lower_bound=1)
flags.DEFINE_integer("gradient_chunk", 0, "Images back-propagated at a time; 0: a whole batch.", lower_bound=0)
flags.DEFINE_enum("precision", "float32", models.PRECISIONS, "Of the computation in training; results are float32.")
flags.DEFINE_integer("extraction_batch", DEFAULTS.extraction_batch, "Images described at a time.", lower_bound=1)
flags.DEFINE_bool("jit_compile", False, "Compile the training step with XLA.")
flags.DEFINE_integer("epochs", DEFAULTS.epochs, "At most so many epochs; 0: no training.", lower_bound=0)
flags.DEFINE_enum("select", DEFAULTS.select, ["best", "last"], "Epoch that is kept: best by validation, or last.")
flags.DEFINE_integer("select_by", DEFAULTS.select_by, "N of the validation recall@N that chooses the best epoch.")
flags.DEFINE_bool("keep_untrained", DEFAULTS.keep_untrained, "Let the model before training be the best epoch.")
flags.DEFINE_integer("patience", DEFAULTS.patience, "Epochs without better validation recall.", lower_bound=1)
flags.DEFINE_enum("optimizer", DEFAULTS.optimizer, ["sgd", "adam"], "SGD with momentum, or AdamW.")
flags.DEFINE_float("learning_rate", DEFAULTS.learning_rate, "At the start.")
flags.DEFINE_float("weight_decay", DEFAULTS.weight_decay, "Of SGD or of AdamW.", lower_bound=0)
flags.DEFINE_enum("schedule", DEFAULTS.schedule, ["halving", "cosine"], "Halves every 5 epochs, or falls to nearly 0.")
flags.DEFINE_enum("whitening", "auto", WHITENING, "PCA whitening: always, never, or as validation recall says.")
flags.DEFINE_integer("dim", 4096, "Dimension after PCA whitening.", lower_bound=1)
flags.DEFINE_string("store", None, "Folder for the frozen layers' output, shared by runs; by default inside --output.")
flags.DEFINE_float("store_gb", 100.0, "Disk for this run's frozen layers' output, others' not counted; 0: none.")
flags.DEFINE_enum("store_dtype", "float16", ["float16", "bfloat16", "float32"], "Of the frozen layers' stored output.")
flags.DEFINE_integer("checkpoint_every", DEFAULTS.checkpoint_every, "Steps between checkpoints.", lower_bound=1)
flags.DEFINE_integer("keep_checkpoints", DEFAULTS.keep_checkpoints, "Last checkpoints kept.", lower_bound=1)
flags.DEFINE_float("max_corrupt_share", 0.01, "Share of unreadable images at which the run stops.")
flags.DEFINE_integer("logical_cpus", 0, "Train on so many logical CPU devices, to try MirroredStrategy without GPUs.")
flags.DEFINE_integer("seed", 0, "Of everything random.")
flags.DEFINE_bool("resume", False, "Continue the run in --output.")


def main(_: list[str]) -> None:
    """Runs the recipe."""
    start(train)


def train() -> None:
    """Dataset, model, training, whitening, evaluation."""
    apply_recipe(RECIPES[FLAGS.recipe])
    adopt_settings(RunFolder(FLAGS.output), FLAGS.resume)
    fit_refreshes()
    run = _open_run()
    if not run.folder.off_the_shelf.is_file():
        _make_off_the_shelf(run)
    # A new run reads its model back as a resumed one does: what is random in layers, as in dropout, is not in the file.
    keras.utils.set_random_seed(run.settings.seed)
    model = run.load(run.folder.off_the_shelf)
    _begin(run, model)
    places = _open_places(run, model)
    kept_epoch = _fit(run, model, places)
    choice = _choose_whitening(run, model, places, kept_epoch)
    _report(run, choice, places["test"])


@dataclass(frozen=True)
class _Run(Run[PlaceSettings]):
    """What all stages share."""

    size: tuple[int, int]
    augmentation: Augmentation | None
    datasets: dict[str, PlaceDataset]


def _open_run() -> _Run:
    """Checks the flags, the folder and the dataset; writes nothing."""
    listed = _list_datasets()
    # What the dataset decides where no flag does.
    rules = {name: getattr(listed["train"], name) for name in ("min_positive", "other_timestamps")}
    check_start(FLAGS.weights, [name for name in FLAGS if FLAGS[name].present])
    settings, size, augmentation = _settings(rules), _image_size(), _augmentation()
    keras.utils.set_random_seed(settings.seed)
    strategy, folder = choose_strategy(FLAGS.logical_cpus), RunFolder(FLAGS.output)
    folder.check(chosen_flags(__name__) | rules, FLAGS.resume)
    farther = f", farther than {settings.min_positive:g} m" if settings.min_positive else ""
    logger.info("Training positives: %s%s", listed["train"].criterion(settings.positive_radius), farther)
    check_writable_folder(_store(folder))
    datasets = _check_datasets(listed, rules, strategy.num_replicas_in_sync)
    chosen, settings = chosen_flags(__name__) | rules, _settings(rules)
    folder.check(chosen, FLAGS.resume)  # Once more: of a resumed run the images may be fewer now.
    if FLAGS.whitening != "none":
        _warn_of_overlap(datasets["train"], datasets["test"])
    return _Run(chosen, settings, strategy, Workers(strategy), folder, size, augmentation, datasets)


def _settings(rules: dict[str, Any]) -> PlaceSettings:
    chosen = chosen_flags(__name__) | rules
    return PlaceSettings(**{f.name: chosen[f.name] for f in fields(PlaceSettings) if f.name in chosen})


def _make_off_the_shelf(run: _Run) -> None:
    """Builds or opens the model, gives NetVLAD its clusters where it has none, and saves it."""
    model = _build(run)
    if fit_clusters(model, run.size, len(run.datasets["train"].database)):
        run.chosen["clusters"] = FLAGS.clusters
        model = _build(run)
    _begin(run, model)
    netvlad = models.netvlad_layer(model)
    places = _open_places(run, model)["train"] if netvlad and not netvlad.is_initialised else None

    def write() -> None:
        if places:
            fed_to = FLAGS.train_from if places.stored else None
            models.initialise_netvlad(model, _sample(places, 500), FLAGS.seed, fed_to)
        run.folder.save_model(model, run.folder.off_the_shelf)

    run.write_once(write)


def _build(run: _Run) -> keras.Model:
    with run.strategy.scope():
        if is_model_file(FLAGS.weights):
            return open_start(FLAGS.weights, run.size)
        return models.build(FLAGS.model, FLAGS.weights, preprocessing=FLAGS.preprocessing, clusters=FLAGS.clusters)


def _begin(run: _Run, model: keras.Model) -> None:
    """Freezes what is not trained, and makes the run's folder where the model fits the flags and the disk."""
    if FLAGS.whitening != "none":
        _fit_dimension(run, model)
    models.freeze_before(model, FLAGS.train_from)
    check_room(run.folder.path, *_disk_needed(run, model), _store(run.folder))
    run.write_once(lambda: run.folder.write_settings(run.chosen))


def _fit_dimension(run: _Run, model: keras.Model) -> None:
    width = model.output.shape[-1]
    fit_flag("dim", width, f"what {model.name} gives")
    run.chosen["dim"] = FLAGS.dim
    if FLAGS.dim > width:
        raise ValueError(f"`dim` must be at most {width}, what {model.name} gives. Received: dim={FLAGS.dim}")


def _disk_needed(run: _Run, model: keras.Model) -> tuple[float, float]:
    """Bytes of models and checkpoints, and of descriptors."""
    counts = [(len(data.database), len(data.queries)) for data in run.datasets.values()]
    dim = 0 if FLAGS.whitening == "none" else FLAGS.dim
    return disk_needed(model, run.settings, dim), spilled(counts, model.output.shape[-1], run.settings)


def _store(folder: RunFolder) -> Path:
    return Path(FLAGS.store or folder.path / "trunk")


def _open_places(run: _Run, model: keras.Model) -> dict[str, Places]:
    """The splits, with the output of the model's frozen part stored as far as it fits."""
    trunk, _ = models.split(model, FLAGS.train_from)
    store, limit = _store(run.folder), FLAGS.store_gb * 1e9
    options: dict[str, Any] = {"dtype": FLAGS.store_dtype, "strategy": run.strategy, "times": run.times}
    options["kept_free"] = max(KEPT_FREE, sum(_disk_needed(run, model)))
    return open_places(run.datasets, trunk, run.size, run.settings, store, limit, **options)


def _fit(run: _Run, model: keras.Model, places: dict[str, Places]) -> int:
    """Trains, and returns the kept epoch."""
    trunk, head = models.split(model, FLAGS.train_from)
    train = places["train"]
    if run.augmentation:
        how = run.augmentation, run.settings.seed, run.settings.orientation, models.antialiases(model)
        inputs = AugmentedInputs(train.dataset.paths, run.size, *how)
        train = replace(train, augmented=inputs)
    # Where the frozen part's output is stored, that part keeps float32: the store does not depend on the precision.
    models.set_precision(head if train.stored else model, FLAGS.precision)
    scale = scale_of(FLAGS.loss, FLAGS.loss_scale, PLACE_SCALES)
    loss, validation = place_losses(FLAGS.kernel)[FLAGS.loss](scale), RecallValidation(places["val"])
    state = Trainer(head, loss, train, validation, run.folder.path, run.strategy, trunk).fit(run.spent())
    models.set_precision(model, "float32")
    return state.best_epoch


def _choose_whitening(run: _Run, model: keras.Model, places: dict[str, Places], kept_epoch: int) -> ModelChoice:
    """Writes the finished model."""
    sample = _sample_ids(len(places["train"].dataset.database), WHITENING_IMAGES)

    def fed(one: keras.Model) -> keras.Model:
        return _fed(one, places["train"])

    return WhiteningStage(run, places, fed, FLAGS.whitening, FLAGS.dim, sample).finish(model, kept_epoch)


def _report(run: _Run, choice: ModelChoice, places: Places) -> None:
    # What is reported is what is in the files, on every worker.
    files = {"off the shelf": run.folder.off_the_shelf.name, **choice.files}
    compared = {name: _fed(run.load(run.folder.path / file), places) for name, file in files.items()}
    saved = SavedModel(choice.saved, choice.reason)

    def extract(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
        return places.extract_all(Extractor(model, run.strategy))

    radius, is_chief = run.settings.negative_radius, run.workers.is_chief
    if text := report_places(compared, places.dataset, extract, run.folder.path, radius, is_chief, saved):
        print(text)
        logger.info("Model, tables, verdict, curves and matches: %s", run.folder.path)


def _fed(model: keras.Model, places: Places) -> keras.Model:
    """The part of a model that takes what the places give."""
    return models.split(model, FLAGS.train_from)[1] if places.stored else model


def _image_size() -> tuple[int, int]:
    if len(FLAGS.image_size) != 2 or not all(part.isdecimal() and int(part) for part in FLAGS.image_size):
        raise ValueError(
            "`image_size` must be height,width in pixels, for example --image_size=480,640. "
            f"Received: image_size={','.join(FLAGS.image_size)}"
        )
    height, width = map(int, FLAGS.image_size)
    return height, width


def _augmentation() -> Augmentation | None:
    known = {field.name for field in fields(Augmentation)}
    try:
        changes: dict[str, Any] = {name: float(value) for name, value in (part.split("=") for part in FLAGS.augment)}
    except ValueError:
        changes = {"": 0.0}
    if not changes.keys() <= known:
        raise ValueError(
            f"`augment` must give numbers to some of {', '.join(sorted(known))}, for example brightness=0.2,flip=1. "
            f"Received: augment={','.join(FLAGS.augment)}"
        )
    augmentation = Augmentation(**{**changes, "flip": bool(changes.get("flip"))})
    return None if augmentation == Augmentation() else augmentation


def _list_datasets() -> dict[str, PlaceDataset]:
    """Reads the lists, not the images; flags say what positives are where they are given."""
    datasets = open_splits(FLAGS.root, FLAGS.prefix)
    if missing := {"train", "val", "test"} - datasets.keys():
        raise ValueError(f"`root` must hold the splits train, val and test. Received: {FLAGS.root!r} without {missing}")
    rules = {name: FLAGS[name].value for name in ("min_positive", "other_timestamps")}
    given = {name: value for name, value in rules.items() if value is not None}
    return {name: replace(data, **given) for name, data in datasets.items()}


def _check_datasets(listed: dict[str, PlaceDataset], rules: dict[str, Any], replicas: int) -> dict[str, PlaceDataset]:
    """Leaves out images that cannot be read; the others must suffice, and numbers not given are fitted to them."""
    _check_sufficient(listed, rules, replicas)  # Before all images are decoded, which takes longer.
    datasets = {name: data.check_images(FLAGS.max_corrupt_share) for name, data in listed.items()}
    if any(len(datasets[name].paths) < len(listed[name].paths) for name in listed):
        _check_sufficient(datasets, rules, replicas)
    return datasets


def _check_sufficient(datasets: dict[str, PlaceDataset], rules: dict[str, Any], replicas: int) -> None:
    train = datasets["train"]
    check_places(datasets, _settings(rules))
    fit_places(train, _settings(rules), replicas)
    check_replicas(_settings(rules), replicas)
    if FLAGS.whitening != "none":
        sample = _sample_ids(len(train.database), WHITENING_IMAGES)
        distinct = distinct_images(train, sample)
        fit_flag("dim", distinct - 1, f"{distinct} distinct training database images span no more")
        check_whitening(len(sample), distinct, FLAGS.dim)


def _warn_of_overlap(train: PlaceDataset, test: PlaceDataset) -> None:
    """Before training, though whitening is fitted after it: then there is still something to do about it."""
    fitted_on = train.database.paths[_sample_ids(len(train.database), WHITENING_IMAGES)]
    warn_of_overlap(fitted_on, test.paths)


def _sample_ids(images: int, count: int) -> np.ndarray:
    return np.sort(np.random.default_rng(FLAGS.seed).permutation(images)[:count])


def _sample(places: Places, count: int) -> Iterator[Any]:
    """Batches of what the model is fed for `count` random database images."""
    batches = places.inputs.batches(_sample_ids(len(places.dataset.database), count), places.settings.extraction_batch)
    return (inputs for _, inputs in batches)


if __name__ == "__main__":
    app.run(expected_errors("trainers.pitts")(main))
