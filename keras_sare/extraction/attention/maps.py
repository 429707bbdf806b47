"""Maps over a photo of what its descriptor, or its similarity to another, comes from."""

import keras
import numpy as np
import tensorflow as tf

from keras_sare.layers import MAC, NetVLAD
from keras_sare.layers.normalize import l2_normalize, norms_held
from keras_sare.models.crop_activations import split_at_pooling
from keras_sare.models.initialise import netvlad_layer
from keras_sare.utils.arguments import plain_arguments

GREY = 127.5


@plain_arguments
def occlusion_map(
    model: keras.Model, image: np.ndarray, target: np.ndarray, box: int = 64, step: int = 32, batch_size: int = 8
) -> np.ndarray:
    """How much of the similarity to another photo is lost where a grey box covers this one.

    Memory holds `batch_size` photos at a time. References: Zeiler and Fergus, "Visualizing and Understanding
    Convolutional Networks", ECCV 2014, section 4.2, for classes; Arandjelovic et al., "NetVLAD", CVPR 2016, for places.

    Args:
        model: images to descriptors of length 1.
        image: RGB, 0 to 255, [height, width, 3].
        target: the other photo's descriptor, [D].
        box: side of the square, in pixels.
        step: from square to square, in pixels.
        batch_size: covered photos at a time.

    Returns:
        Similarity of the photo as it is, minus that of the covered one, float32 [rows, columns]: high where it matters.
        Square (r, c) is centred in pixel (r * step, c * step) and cut at the border.

    Raises:
        ValueError: a size is below 1.
    """
    for name, value in {"box": box, "step": step, "batch_size": batch_size}.items():
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {name}={value}")
    image = np.asarray(image, np.float32)
    height, width = image.shape[:2]
    rows = range(0, height + step // 2, step)
    columns = range(0, width + step // 2, step)
    centres = [(row, column) for row in rows for column in columns]
    whole = float(_descriptors(model, image[None])[0] @ target)
    drops = np.empty(len(centres), np.float32)
    for start in range(0, len(centres), batch_size):
        part = centres[start : start + batch_size]
        covered = np.repeat(image[None], len(part), axis=0)
        for one, (row, column) in zip(covered, part, strict=True):
            top = max(0, row - box // 2)
            left = max(0, column - box // 2)
            one[top : row + (box + 1) // 2, left : column + (box + 1) // 2] = GREY
        drops[start : start + len(part)] = whole - _descriptors(model, covered) @ target
    return drops.reshape(len(rows), len(columns))


@plain_arguments
def contribution_map(model: keras.Model, image: np.ndarray, target: np.ndarray) -> np.ndarray:
    """What each cell of the feature map adds to the similarity to another photo.

    One pass forth and back. The similarity is a sum over the cells where lengths are held constant: of NetVLAD's
    residuals by their weights, of features times gradient for other poolings. For NetVLAD, MAC, SPoC, GeM and R-MAC the
    cells add up to the similarity, less what a whitening's shift adds; for the others this is so to first order.

    Args:
        model: one of `keras_sare.models.build`.
        image: RGB, 0 to 255, [height, width, 3].
        target: the other photo's descriptor, [D]; the photo's own says where its descriptor comes from: shares of its
            squared length.

    Returns:
        float32 [rows, columns] of the feature map, negative where a cell is unlike the other photo.

    Raises:
        ValueError: the model has no pooling layer that takes a feature map.
    """
    trunk, head = split_at_pooling(model)
    features = tf.cast(trunk(np.asarray(image, np.float32)[None], training=False), tf.float32)
    layer = netvlad_layer(model)
    if layer is not None:
        after = keras.Model(layer.output, keras.layers.Identity()(model.output))
        return _residual_contributions(layer, after, features, target)
    gradient = _held_gradient(head, features, target)
    return np.asarray(tf.reduce_sum(features * gradient, axis=-1)[0])


@plain_arguments
def assignment_map(model: keras.Model, image: np.ndarray) -> np.ndarray:
    """NetVLAD's soft assignment of each cell of the feature map to its clusters.

    Args:
        model: one with NetVLAD.
        image: RGB, 0 to 255, [height, width, 3].

    Returns:
        float32 [rows, columns, clusters]; each cell adds up to 1.

    Raises:
        ValueError: the model pools otherwise.
    """
    layer = _pooling(model, NetVLAD)
    return _assigned(layer, _features(model, image))[1]


@plain_arguments
def maximal_map(model: keras.Model, image: np.ndarray) -> np.ndarray:
    """Share of the squared length of a MAC vector whose channels are greatest in each cell: MAC's maximal patches.

    Args:
        model: one with MAC.
        image: RGB, 0 to 255, [height, width, 3].

    Returns:
        float32 [rows, columns], adding up to 1 where anything responds. A channel counts in its first greatest cell.

    Raises:
        ValueError: the model pools otherwise.
    """
    _pooling(model, MAC)
    features = _features(model, image)
    cells = features.reshape(-1, features.shape[-1])
    shares = np.bincount(cells.argmax(axis=0), weights=np.square(cells.max(axis=0)), minlength=len(cells))
    return np.asarray(shares / max(shares.sum(), 1e-12), np.float32).reshape(features.shape[:2])


def _assigned(layer: NetVLAD, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Local descriptors as NetVLAD takes them, [rows, columns, channels], and weights, [rows, columns, clusters]."""
    if layer.normalises_descriptors:
        features = keras.ops.convert_to_numpy(l2_normalize(features, normalization=layer.normalization))
    scores = features @ keras.ops.convert_to_numpy(layer.assignment)
    if layer.has_bias:
        scores = scores + keras.ops.convert_to_numpy(layer.bias)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return features, np.asarray(weights / weights.sum(axis=-1, keepdims=True), np.float32)


def _residual_contributions(layer: NetVLAD, after: keras.Model, features: tf.Tensor, target: np.ndarray) -> np.ndarray:
    """The similarity as a sum over NetVLAD's cells: the weight of each times its residual, as the whole is scaled."""
    local, weights = _assigned(layer, np.asarray(features[0]))
    centres = keras.ops.convert_to_numpy(layer.centroids)
    sums = np.einsum("rck,rcd->kd", weights, local) - weights.sum(axis=(0, 1))[:, None] * centres
    pooled = layer(features)
    wanted = np.asarray(_held_gradient(after, pooled, target)).reshape(centres.shape)
    # What NetVLAD's layer makes of the sums: each cluster's has one factor, which the pooled vector shows.
    factors = np.linalg.norm(np.reshape(pooled, centres.shape), axis=1) / np.maximum(
        np.linalg.norm(sums, axis=1), 1e-12
    )
    wanted = wanted * factors[:, None]
    return np.asarray((weights * (local @ wanted.T - (centres * wanted).sum(axis=1))).sum(axis=-1), np.float32)


def _held_gradient(model: keras.Model, inputs: tf.Tensor, target: np.ndarray) -> tf.Tensor:
    """Gradient of the similarity of a model's output to another descriptor, with all lengths held constant."""
    with tf.GradientTape() as tape, norms_held():
        tape.watch(inputs)
        outputs = tf.cast(model(inputs, training=False), tf.float32)
        similarity = tf.reduce_sum(outputs * target.astype(np.float32))
    return tape.gradient(similarity, inputs)


def _descriptors(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(tf.cast(model(images, training=False), tf.float32))


def _features(model: keras.Model, image: np.ndarray) -> np.ndarray:
    trunk, _ = split_at_pooling(model)
    return np.asarray(tf.cast(trunk(np.asarray(image, np.float32)[None], training=False), tf.float32)[0])


def _pooling(model: keras.Model, kind: type) -> keras.Layer:
    found = [layer for layer in model.layers if isinstance(layer, kind)]
    if not found:
        raise ValueError(f"`model` must pool by {kind.__name__}. Received: model={model.name!r}")
    return found[0]
