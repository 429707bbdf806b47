"""Initialisation of NetVLAD's clusters by k-means on local descriptors."""

import logging
import math
import warnings
from collections.abc import Iterable
from itertools import islice
from typing import Any

import keras
import numpy as np

from keras_sare.layers import NetVLAD, l2_normalize
from keras_sare.models.surgery import split
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.progress import progress

logger = logging.getLogger(__name__)

MAX_IMAGES = 500
DESCRIPTORS_PER_IMAGE = 100
KMEANS_ITERATIONS = 100


def netvlad_layer(model: keras.Model) -> NetVLAD | None:
    """Returns the NetVLAD layer of `model`, or None where it has none."""
    return next((layer for layer in model.layers if isinstance(layer, NetVLAD)), None)


@plain_arguments
def initialise_netvlad(model: keras.Model, images: Iterable[Any], seed: int = 0, fed_to: str | None = None) -> float:
    """Gives the NetVLAD layer of `model` its clusters: k-means centres and the published alpha.

    At most 500 images are used and 100 random positions of each. The descriptors are L2-normalised first where the
    layer's method has `preL2`. The assignment is alpha times `NetVLAD.unit_assignment`, with

        alpha = -ln(0.01) / mean(best - second-best score)

    so that on average the second-best cluster gets a hundredth of the best one's weight. A score is c~ . x with the
    unit centre c~ for `vlad`; for `vladv2` the difference of scores is that of squared distances, d2^2 - d1^2.

    Reference: Arandjelovic et al., "NetVLAD", CVPR 2016, appendix A; the constants are those of the published code.

    Args:
        model: model with a NetVLAD layer.
        images: any iterable, also a dataset of unknown length, of images [height, width, 3], of batches of them
            [batch, height, width, 3], or of tuples that hold such a batch, as `keras_sare.datasets.image_batches`
            yields with indices. Draw them at random from the training database.
        seed: of the choice of positions and of k-means.
        fed_to: name of the layer that `images` are fed to, where they are not images but the output of all layers
            before it.

    Returns:
        alpha.

    Raises:
        ValueError: the model has no NetVLAD layer, `images` holds something else, or it gives fewer descriptors than
            there are clusters.
    """
    layer = netvlad_layer(model)
    if layer is None:
        raise ValueError(f"`model` must have a NetVLAD layer. Received: model={model.name!r} without one")
    features, _ = split(model, layer.name)
    if fed_to == layer.name:
        features = keras.Sequential([keras.Input(layer.input.shape[1:]), keras.layers.Identity()])
    elif fed_to is not None:
        _, features = split(features, fed_to)
    sample = sample_local_descriptors(features, images, seed, layer.normalises_descriptors)
    if len(sample) < 2 * layer.clusters:
        raise ValueError(
            f"`images` must give at least {2 * layer.clusters} local descriptors for {layer.clusters} clusters. "
            f"Received: {len(sample)} descriptors. Use more or larger images, or fewer clusters."
        )
    logger.info("NetVLAD: k-means with %d clusters on %d local descriptors", layer.clusters, len(sample))
    from sklearn.cluster import KMeans  # Here, because it takes a second that few programs need.

    kmeans = KMeans(layer.clusters, max_iter=KMEANS_ITERATIONS, n_init=1, random_state=seed).fit(sample)
    alpha = assignment_sharpness(sample, *layer.unit_assignment(kmeans.cluster_centers_))
    layer.set_clusters(kmeans.cluster_centers_, alpha)
    return alpha


def sample_local_descriptors(
    features: keras.Model, images: Iterable[Any], seed: int, normalise: bool = True
) -> np.ndarray:
    """Returns float32 local descriptors [n, channels] at random positions of the feature maps."""
    rng = np.random.default_rng(seed)
    samples = []
    count = 0
    for batch in progress(images, "local descriptors", unit="batch"):
        maps_of_batch = keras.ops.convert_to_numpy(features(_images_of(batch), training=False))
        for maps in islice(maps_of_batch, MAX_IMAGES - count):
            local = maps.reshape(-1, maps.shape[-1])
            chosen = local[rng.permutation(len(local))[:DESCRIPTORS_PER_IMAGE]].astype("float32")
            samples.append(keras.ops.convert_to_numpy(l2_normalize(chosen)) if normalise else chosen)
            count += 1
        if count == MAX_IMAGES:
            break
    return np.concatenate(samples) if samples else np.empty((0, features.output.shape[-1]), "float32")


def _images_of(batch: Any) -> Any:
    """The images [batch, height, width, channels] of what an iterable yields: a batch, an image, a tuple with one."""
    if isinstance(batch, list):
        batch = np.asarray(batch, "float32")
    parts = batch if isinstance(batch, tuple) else (batch,)
    ranks = [keras.ops.ndim(part) for part in parts]
    images = next((part for part, rank in zip(parts, ranks, strict=True) if rank in (3, 4)), None)
    if images is None:
        raise ValueError(
            "`images` must yield images [height, width, 3], batches of them [batch, height, width, 3], or tuples with "
            f"such a batch. Received: {type(batch).__name__} of ranks {ranks}"
        )
    return images if keras.ops.ndim(images) == 4 else keras.ops.expand_dims(images, 0)


def assignment_sharpness(sample: np.ndarray, assignment: np.ndarray, bias: np.ndarray) -> float:
    """alpha = -ln(0.01) / mean(best minus second-best score x w + b), for w and b of `NetVLAD.unit_assignment`."""
    scores = np.sort(sample @ assignment + bias, axis=1)
    return float(-math.log(0.01) / np.mean(scores[:, -1] - scores[:, -2]))


def warn_if_uninitialised(model: keras.Model, action: str) -> None:
    """Warns where a NetVLAD layer of `model` has never been given clusters.

    Args:
        model: any model.
        action: what is about to be done with it, for example "trained".
    """
    layer = netvlad_layer(model)
    if layer is not None and not layer.is_initialised:
        warnings.warn(
            f"NetVLAD layer {layer.name!r} is being {action} without clusters: its descriptors are poor. "
            "Call keras_sare.models.initialise_netvlad(model, images) first.",
            stacklevel=3,
        )
