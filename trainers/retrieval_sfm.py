"""Trains a retrieval model on 3D models of photos, as "CNN Image Retrieval Learns from BoW" does: no labels are needed.

    python -m trainers.sfm --images=PHOTOS --output=runs/sfm
    python -m trainers.retrieval_sfm --dataset=runs/sfm/sfm.npz --output=runs/mac

The defaults are the paper's: MAC, all of VGG16 trained with the contrastive loss, positives m3 and negatives N2, photos
with a longer side of 362. Published on Oxford5k: mAP 0.797 with learned whitening. A killed run goes on with --resume.
With --ground_truth the run ends with the table of `trainers.retrieval_table`.
"""

import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import keras
from absl import app, flags

from keras_sare import models
from keras_sare.datasets import SfMDataset, read_landmarks
from keras_sare.datasets.images.orientation import ORIENTATIONS
from keras_sare.distribution import Workers, choose_strategy
from keras_sare.evaluation import ComparisonSettings, RetrievalComparison
from keras_sare.extraction.array_cache import ArrayCache
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
from keras_sare.utils.error_text import expected_errors
from keras_sare.utils.files import check_writable_folder
from trainers.checks import check_room, disk_needed, spilled
from trainers.fitted import fit_photos
from trainers.losses import LOSS_SCALES, RETRIEVAL_SCALES, retrieval_losses, scale_of
from trainers.recipes import RETRIEVAL_RECIPES
from trainers.retrieval_stages import is_published, load_models, open_photos, open_table, readable_photos
from trainers.retrieval_whitening import WHITENING, RetrievalWhitening
from trainers.stages import Run, adopt_settings, apply_recipe, chosen_flags, start
from trainers.starting_model import check_start, is_model_file, open_start

logger = logging.getLogger("keras_sare.retrieval_sfm")

FLAGS, DEFAULTS = flags.FLAGS, SfMSettings()
POOLINGS = ("mac", "gem", "rmac", "spoc", "crow")
PRESETS = sorted(name for name, preset in models.PRESETS.items() if preset.pooling in POOLINGS)
flags.DEFINE_enum("recipe", "retrieval_sfm", sorted(RETRIEVAL_RECIPES), "Values of the flags that are not given.")
flags.DEFINE_string("dataset", None, "sfm.npz of trainers.sfm, or a published retrieval-SfM .pkl.", required=True)
flags.DEFINE_string("images", None, "Folder of the images, for a published .pkl.")
flags.DEFINE_string("leave_out", None, "Text file, an image name a line: no 3D model with one of them is trained on.")
flags.DEFINE_float("val_share", 0.2, "Share of the photos for validation, whole clusters; a .pkl has its own.")
flags.DEFINE_string("output", None, "Folder of the run; new, or an earlier run's with --resume.", required=True)
flags.DEFINE_string("weights", "imagenet", "'imagenet', a weights file, or a model of your own: a .keras file.")
flags.DEFINE_enum("preprocessing", None, sorted(models.PREPROCESSING), "What the weights want, where not known.")
flags.DEFINE_enum("model", "vgg16_mac", PRESETS, "Backbone and pooling: vgg16_mac, vgg16_gem, resnet101_gem, ...")
flags.DEFINE_string("train_from", "conv1_1", "First layer that is trained.")
flags.DEFINE_integer("longer_side", 362, "Of the photos in training, in pixels, at most.", lower_bound=32)
flags.DEFINE_enum("orientation", DEFAULTS.orientation, ORIENTATIONS, "Photos as viewers show them, or as stored.")
flags.DEFINE_enum("loss", "contrastive", sorted(retrieval_losses()), "Loss over tuples.")
flags.DEFINE_enum("loss_scale", "published", LOSS_SCALES, "Of the gradient: as its authors' code, or mean over tuples.")
flags.DEFINE_float("tau", 0.7, "Margin of the contrastive loss; 0.75 was published for GeM.")
flags.DEFINE_enum("positive", None, ["m1", "m2", "m3", "pairs"], "Rule of positives; m3, or the pairs of a .pkl.")
flags.DEFINE_integer("negatives", DEFAULTS.negatives, "Hard negatives per tuple.", lower_bound=1)
flags.DEFINE_enum("negatives_from", DEFAULTS.negatives_from, ["N1", "N2"], "N2: at most one of a cluster.")
flags.DEFINE_integer("negative_pool", DEFAULTS.negative_pool, "Random images of an epoch that may be negatives.")
flags.DEFINE_integer(
    "queries_per_epoch",
    0,
    "Random queries of an epoch, at most; 0: all, as the paper's MATLAB code. Its PyTorch code takes 2000.",
    lower_bound=0,
)
flags.DEFINE_integer(
    "mine_times",
    DEFAULTS.mine_times,
    "How often an epoch mines its tuples: 3 times in the paper's MATLAB code, once in its PyTorch code.",
    lower_bound=1,
)
flags.DEFINE_integer("tuples_per_step", DEFAULTS.tuples_per_step, "Tuples in a batch.", lower_bound=1)
flags.DEFINE_integer("gradient_chunk", 0, "Images back-propagated at a time; 0: all of one size.", lower_bound=0)
flags.DEFINE_enum("precision", "float32", models.PRECISIONS, "Of the computation in training; results are float32.")
flags.DEFINE_integer("extraction_batch", DEFAULTS.extraction_batch, "Images described at a time.", lower_bound=1)
flags.DEFINE_integer("epochs", DEFAULTS.epochs, "At most so many epochs; 0: no training.", lower_bound=0)
flags.DEFINE_enum("select", DEFAULTS.select, ["best", "last"], "Epoch that is kept: best by validation mAP, or last.")
flags.DEFINE_bool("keep_untrained", DEFAULTS.keep_untrained, "Let the model before training be the best epoch.")
flags.DEFINE_integer("patience", DEFAULTS.patience, "Epochs without better validation mAP.", lower_bound=1)
flags.DEFINE_enum("optimizer", DEFAULTS.optimizer, ["sgd", "adam"], "SGD with momentum, or AdamW.")
flags.DEFINE_float("learning_rate", DEFAULTS.learning_rate, "At the start.")
flags.DEFINE_float("weight_decay", DEFAULTS.weight_decay, "Of SGD or of AdamW.", lower_bound=0)
flags.DEFINE_enum("schedule", DEFAULTS.schedule, ["step", "cosine"], "Divided by 5 every 10 epochs, or to nearly 0.")
flags.DEFINE_string("store", None, "Folder for the frozen layers' output, shared by runs; by default inside --output.")
flags.DEFINE_float("store_gb", 100.0, "Disk for this run's frozen layers' output, others' not counted; 0: none.")
flags.DEFINE_enum("store_dtype", "float16", ["float16", "bfloat16", "float32"], "Of the frozen layers' stored output.")
flags.DEFINE_integer("checkpoint_every", DEFAULTS.checkpoint_every, "Steps between checkpoints.", lower_bound=1)
flags.DEFINE_integer("keep_checkpoints", DEFAULTS.keep_checkpoints, "Last checkpoints kept.", lower_bound=1)
flags.DEFINE_float("max_corrupt_share", 0.01, "Share of unreadable images at which the run stops.")
flags.DEFINE_enum(
    "whitening", "auto", WHITENING, "Saved model: with whitening if validation is no worse, without, or always with."
)
flags.DEFINE_integer(
    "whitening_side", 1024, "Longer side of the photos that whitening is learned from and chosen by.", lower_bound=32
)
flags.DEFINE_integer("dim", 512, "Dimension after learned whitening, at most.", lower_bound=1)
flags.DEFINE_string("ground_truth", None, "Test set: gnd_*.json or .pkl, or a folder of *_query.txt files.")
flags.DEFINE_string("test_images", None, "Folder of the test set's images.")
flags.DEFINE_string("pca_images", None, "Folder of images of other places, for PCA whitening in the table.")
flags.DEFINE_integer("logical_cpus", 0, "Train on so many logical CPU devices, to try MirroredStrategy without GPUs.")
flags.DEFINE_integer("seed", 0, "Of everything random.")
flags.DEFINE_bool("resume", False, "Continue the run in --output.")

TRIED_SIDE = 224
"""Of the image that a model of the user's own is tried on, in pixels."""

NOT_OF_TRAINING = ("ground_truth", "test_images", "pca_images")
"""Flags that a resumed run may have otherwise: the table is made when the model is finished."""


def main(_: list[str]) -> None:
    """Runs the recipe."""
    start(train)


def train() -> None:
    """Dataset, model, training, whitening, table."""
    apply_recipe(RETRIEVAL_RECIPES[FLAGS.recipe])
    adopt_settings(RunFolder(FLAGS.output), FLAGS.resume)
    run, splits, table = _open_run()
    if not run.folder.off_the_shelf.is_file():
        _make_off_the_shelf(run, splits)
    # A new run reads its model back as a resumed one does: what is random in layers, as in dropout, is not in the file.
    keras.utils.set_random_seed(run.settings.seed)
    model = run.load(run.folder.off_the_shelf)
    _begin(run, model, splits)
    kept_epoch = _fit(run, model, splits)
    run.write_once(lambda: _whiten(run, model, splits, kept_epoch, table))
    if table and run.workers.is_chief:
        print(table.compare(load_models(run.folder)))
        logger.info("Model: %s; tables and pictures: %s", run.folder.model, table.folder)


def _open_run() -> tuple[Run[SfMSettings], dict[str, SfMDataset], RetrievalComparison | None]:
    """Checks the flags, the folder and the datasets; writes nothing."""
    check_start(FLAGS.weights, [name for name in FLAGS if FLAGS[name].present])
    chosen, settings = _choose()
    # The test set is read early, so that a wrong path does not show after hours.
    landmarks = read_landmarks(FLAGS.ground_truth, FLAGS.test_images) if FLAGS.ground_truth else None
    keras.utils.set_random_seed(settings.seed)
    strategy, folder = choose_strategy(FLAGS.logical_cpus), RunFolder(FLAGS.output)
    folder.check(chosen, FLAGS.resume)
    check_writable_folder(_store(folder))
    splits = _open_splits(chosen, strategy.num_replicas_in_sync)
    chosen, settings = _choose()
    folder.check(chosen, FLAGS.resume)  # Once more: of a resumed run the photos may be fewer now.
    table = None
    if landmarks:
        share, compared = FLAGS.max_corrupt_share, ComparisonSettings(orientation=FLAGS.orientation)
        table = open_table(landmarks, splits["train"], FLAGS.pca_images, share, compared, folder)
    return Run(chosen, settings, strategy, Workers(strategy), folder), splits, table


def _choose() -> tuple[dict[str, Any], SfMSettings]:
    """What the flags say the run computes."""
    chosen = {name: value for name, value in chosen_flags(__name__).items() if name not in NOT_OF_TRAINING}
    chosen["positive"] = FLAGS.positive or ("pairs" if is_published(FLAGS.dataset) else DEFAULTS.positive)
    of_settings = {**chosen, "queries_per_epoch": FLAGS.queries_per_epoch or None}
    return chosen, SfMSettings(**{f.name: of_settings[f.name] for f in fields(SfMSettings) if f.name in of_settings})


def _open_splits(chosen: dict[str, Any], replicas: int) -> dict[str, SfMDataset]:
    """Photos that can be read and suffice for training and validation, to which numbers not given are fitted."""
    named = open_photos(chosen)
    _check_sufficient(named, replicas)  # Before all photos are decoded.
    splits = readable_photos(named, FLAGS.max_corrupt_share)
    if any(len(splits[name]) < len(named[name]) for name in named):
        _check_sufficient(splits, replicas)
    return splits


def _check_sufficient(splits: dict[str, SfMDataset], replicas: int) -> None:
    """Makes the miner and the validation as training does, which check the photos."""
    fit_photos(splits["train"], _choose()[1], replicas)
    settings = _choose()[1]
    check_replicas(settings, replicas)
    _unread(splits["train"], settings).tuple_source()
    MeanAveragePrecisionValidation(_unread(splits["val"], settings))


def _unread(photos: SfMDataset, settings: SfMSettings) -> SfMPhotos:
    """Photos of which none is going to be read as a model's input."""
    size = FLAGS.longer_side, FLAGS.longer_side
    return SfMPhotos(photos, ImageInputs(photos.paths, size), settings, Path(FLAGS.output))


def _make_off_the_shelf(run: Run[SfMSettings], splits: dict[str, SfMDataset]) -> None:
    """Builds or opens the model, and saves it."""
    with run.strategy.scope():
        if is_model_file(FLAGS.weights):
            model = open_start(FLAGS.weights, (TRIED_SIDE, TRIED_SIDE))
        else:
            model = models.build(FLAGS.model, FLAGS.weights, preprocessing=FLAGS.preprocessing)
    _begin(run, model, splits)
    run.write_once(lambda: run.folder.save_model(model, run.folder.off_the_shelf))


def _begin(run: Run[SfMSettings], model: keras.Model, splits: dict[str, SfMDataset]) -> None:
    """Freezes what is not trained, and makes the run's folder where the model fits the flags and the disk."""
    models.freeze_before(model, FLAGS.train_from)
    check_room(run.folder.path, *_disk_needed(run, model, splits), _store(run.folder))
    run.write_once(lambda: run.folder.write_settings(run.chosen))


def _disk_needed(run: Run[SfMSettings], model: keras.Model, splits: dict[str, SfMDataset]) -> tuple[float, float]:
    """Bytes of the run's folder, with the descriptors that whitening is learned from, and of others."""
    width = model.output.shape[-1]
    kept = 4.0 * len(splits["train"]) * width
    counts = [(len(data),) for data in splits.values()]
    return disk_needed(model, run.settings, min(FLAGS.dim, width)) + kept, spilled(counts, width, run.settings)


def _store(folder: RunFolder) -> Path:
    return Path(FLAGS.store or folder.path / "trunk")


def _fit(run: Run[SfMSettings], model: keras.Model, splits: dict[str, SfMDataset]) -> int:
    """Trains, and returns the kept epoch."""
    trunk, head = models.split(model, FLAGS.train_from)
    store, limit = _store(run.folder), FLAGS.store_gb * 1e9
    options: dict[str, Any] = {"dtype": FLAGS.store_dtype, "strategy": run.strategy, "times": run.times}
    options["kept_free"] = max(KEPT_FREE, sum(_disk_needed(run, model, splits)))
    paths = {name: data.paths for name, data in splits.items()}
    inputs, stored = open_feature_store(paths, trunk, FLAGS.longer_side, run.settings, store, limit, **options)
    photos = {
        name: SfMPhotos(data, inputs[name], run.settings, store / "spill", stored) for name, data in splits.items()
    }
    models.set_precision(head if stored else model, FLAGS.precision)
    validation = MeanAveragePrecisionValidation(photos["val"])
    loss = retrieval_losses(FLAGS.tau)[FLAGS.loss](scale_of(FLAGS.loss, FLAGS.loss_scale, RETRIEVAL_SCALES))
    state = Trainer(head, loss, photos["train"], validation, run.folder.path, run.strategy, trunk).fit(run.spent())
    models.set_precision(model, "float32")
    return state.best_epoch


def _whiten(
    run: Run[SfMSettings],
    model: keras.Model,
    splits: dict[str, SfMDataset],
    kept_epoch: int,
    table: RetrievalComparison | None,
) -> None:
    """Writes the finished model, and tells how good it is on the validation photos."""
    kept = table.cache if table else ArrayCache(run.folder.path)
    how = ComparisonSettings(
        longer_side=FLAGS.whitening_side, batch_size=FLAGS.extraction_batch, orientation=FLAGS.orientation
    )
    validation = MeanAveragePrecisionValidation(_unread(splits["val"], run.settings))
    stage = RetrievalWhitening(run, splits["train"], validation, kept, how, FLAGS.whitening, FLAGS.dim)
    print(stage.finish(run.load(run.folder.off_the_shelf), model, kept_epoch))
    if not table:  # It needs the descriptors once more.
        kept.clear()


if __name__ == "__main__":
    app.run(expected_errors("trainers.retrieval_sfm")(main))
