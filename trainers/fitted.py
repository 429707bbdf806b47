"""Numbers that the command line does not give, fitted to the data, each with a line that says so."""

import logging
from dataclasses import replace
from pathlib import Path

import keras
from absl import flags

from keras_sare import models
from keras_sare.datasets import PlaceDataset, SfMDataset
from keras_sare.extraction.inputs import ImageInputs
from keras_sare.models.initialise import DESCRIPTORS_PER_IMAGE, MAX_IMAGES
from keras_sare.training import Places, PlaceSettings, SfMPhotos, SfMSettings
from keras_sare.training.data.training_images import TrainingImages

logger = logging.getLogger("keras_sare.trainers")

FLAGS = flags.FLAGS

_UNREAD = (32, 32)
"""Size of images that are only counted."""


def fit_flag(name: str, most: int, reason: str) -> bool:
    """Lowers a number that the command line does not give to what the data allow.

    A number that it does give stays: what checks it says that it does not fit.

    Args:
        name: of a flag, a count.
        most: the largest value that fits; 0, where nothing does, is left to what checks it too.
        reason: why, as the end of "--name=1 instead of 2: ".

    Returns:
        Whether it was lowered.
    """
    flag = FLAGS[name]
    lowers = flag.using_default_value and 1 <= most < flag.value
    if lowers:
        logger.warning("--%s=%d instead of %d: %s", name, most, flag.value, reason)
        FLAGS.set_default(name, most)
    return bool(lowers)


def fit_refreshes() -> None:
    """Fits `refresh_every` to `tuples_per_step`, or the other way round: a step trains on tuples of one refresh."""
    refresh, per_step = FLAGS["refresh_every"], FLAGS["tuples_per_step"]
    if refresh.using_default_value and refresh.value < per_step.value:
        logger.warning("--refresh_every=%d instead of %d, as `tuples_per_step`", per_step.value, refresh.value)
        FLAGS.set_default("refresh_every", per_step.value)
    fit_flag("tuples_per_step", refresh.value, "as `refresh_every`")


def fit_places(train: PlaceDataset, settings: PlaceSettings, replicas: int) -> None:
    """Fits `dim`, `negatives` and `tuples_per_step` of `trainers.pitts` to the places that are trained on.

    Args:
        train: the training split.
        settings: of the run.
        replicas: of the run.

    Raises:
        ValueError: no query has a positive, or numbers that are given do not fit.
    """
    images = len(train.database)
    if FLAGS.whitening != "none":
        fit_flag("dim", images // 2, f"half of the {images} training database images; more dimensions fit their noise")
    _fit_tuples(Places(train, ImageInputs(train.paths, _UNREAD), settings, Path()), replicas)


def fit_clusters(model: keras.Model, size: tuple[int, int], images: int) -> bool:
    """Fits `clusters` of `trainers.pitts` to the local descriptors of the training database.

    Args:
        model: where it has a NetVLAD layer that has its clusters already, there is nothing to fit.
        size: (height, width) of the images.
        images: in the training database.

    Returns:
        Whether the model must be built anew with fewer clusters.
    """
    layer = models.netvlad_layer(model)
    if layer is None or layer.is_initialised:
        return False
    features, _ = models.split(model, layer.name)
    _, height, width, _ = features.compute_output_shape((1, *size, 3))
    descriptors = min(images, MAX_IMAGES) * min(height * width, DESCRIPTORS_PER_IMAGE)
    return fit_flag("clusters", descriptors // 2, f"two local descriptors for each, {images} images give {descriptors}")


def fit_photos(train: SfMDataset, settings: SfMSettings, replicas: int) -> None:
    """Fits `negatives` and `tuples_per_step` of `trainers.retrieval_sfm` to the photos that are trained on.

    Args:
        train: the training photos.
        settings: of the run.
        replicas: of the run.

    Raises:
        ValueError: no photo has a positive, or numbers that are given do not fit.
    """
    _fit_tuples(SfMPhotos(train, ImageInputs(train.paths, _UNREAD), settings, Path()), replicas)


def _fit_tuples(train: TrainingImages, replicas: int) -> None:
    source = replace(train, settings=replace(train.settings, negatives=1)).tuple_source()
    most, queries = source.miner.most_negatives, len(source.queries_of(1))
    fit_flag("negatives", most, f"a query has no more than {most} images that may be its negatives")
    fit_flag("tuples_per_step", queries - queries % replicas, f"an epoch has {queries} queries with a positive")
    # Training would say so too, after hours of the frozen layers' pass.
    source.check_steps(FLAGS.tuples_per_step)
    if FLAGS.negatives > most:
        replace(train, settings=replace(train.settings, negatives=FLAGS.negatives)).tuple_source()
