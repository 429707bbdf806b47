"""Numbers that are not given, fitted to the data, each with a line that says so."""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import keras

from keras_sare import models
from keras_sare.datasets import PlaceDataset, SfMDataset
from keras_sare.extraction.inputs import ImageInputs
from keras_sare.mining import PlaceBatchMiner
from keras_sare.models.initialise import DESCRIPTORS_PER_IMAGE, MAX_IMAGES
from keras_sare.training import Places, SfMPhotos
from keras_sare.training.data.training_images import TrainingImages, TupleSource
from trainers.config import PittsConfig, RetrievalConfig

Chosen = TypeVar("Chosen", PittsConfig, RetrievalConfig)

_UNREAD = (32, 32)
"""Size of images that are only counted."""


def fit_refreshes(config: PittsConfig) -> PittsConfig:
    """Fits `refresh_every` to `tuples_per_step`, or the other way round: a step trains on tuples of one refresh."""
    if "refresh_every" not in config.given and config.refresh_every < config.tuples_per_step:
        return config.fitted("refresh_every", config.tuples_per_step, "as `tuples_per_step`")
    return config.lowered("tuples_per_step", config.refresh_every, "as `refresh_every`")


def fit_places(config: PittsConfig, train: PlaceDataset, replicas: int) -> PittsConfig:
    """Fits `dim`, `negatives` and `tuples_per_step` to the places that are trained on.

    Args:
        config: of the run.
        train: the training split.
        replicas: of the run.

    Raises:
        ValueError: no query has a positive, or numbers that are given do not fit.
    """
    if config.whitening != "none":
        images = whitening_images(config, train)
        reason = f"half of the {images} training images; more dimensions fit their noise"
        config = config.lowered("dim", images // 2, reason)
    return _fit_tuples(config, Places(train, ImageInputs(train.paths, _UNREAD), config.settings(), Path()), replicas)


def whitening_images(config: PittsConfig, train: PlaceDataset) -> int:
    """Number of training images among which those of whitening are: of both sides where both are queries."""
    return len(train.database) + (len(train.queries) if config.database_queries else 0)


def fit_clusters(config: PittsConfig, model: keras.Model, images: int) -> PittsConfig:
    """Fits `clusters` to the local descriptors of the training database.

    Args:
        config: of the run.
        model: where it has a NetVLAD layer that has its clusters already, there is nothing to fit.
        images: in the training database.

    Returns:
        The configuration; with other `clusters` the model must be built anew.
    """
    layer = models.netvlad_layer(model)
    if layer is None or layer.is_initialised:
        return config
    features, _ = models.split(model, layer.name)
    _, height, width, _ = features.compute_output_shape((1, *config.image_size, 3))
    descriptors = min(images, MAX_IMAGES) * min(height * width, DESCRIPTORS_PER_IMAGE)
    reason = f"two local descriptors for each, {images} images give {descriptors}"
    return config.lowered("clusters", descriptors // 2, reason)


def fit_photos(config: RetrievalConfig, train: SfMDataset, replicas: int) -> RetrievalConfig:
    """Fits `negatives` and `tuples_per_step` to the photos of 3D models that are trained on.

    Args:
        config: of the run.
        train: the training photos.
        replicas: of the run.

    Raises:
        ValueError: no photo has a positive, or numbers that are given do not fit.
    """
    photos = SfMPhotos(train, ImageInputs(train.paths, _UNREAD), config.settings(), Path())
    return _fit_tuples(config, photos, replicas)


def _fit_tuples(config: Chosen, train: TrainingImages, replicas: int) -> Chosen:
    source = replace(train, settings=replace(train.settings, negatives=1)).tuple_source()
    most = source.miner.most_negatives
    config = config.lowered("negatives", most, f"a query has no more than {most} images that may be its negatives")
    config = _fit_step(config, source, replicas)
    # Training would say so too, after hours of the frozen layers' pass.
    chosen = replace(train, settings=config.settings()).tuple_source()
    chosen.check_steps(config.tuples_per_step)
    return config


def _fit_step(config: Chosen, source: TupleSource, replicas: int) -> Chosen:
    if isinstance(source.miner, PlaceBatchMiner):
        most = source.miner.largest_batch()
        reason = f"no more than {most} places are far enough apart"
    else:
        most = len(source.queries_of(1))
        reason = f"an epoch has {most} queries with a positive"
    return config.lowered("tuples_per_step", most - most % replicas, reason)
