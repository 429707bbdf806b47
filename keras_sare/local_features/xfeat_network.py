"""XFeat's network: a grey photo in, maps of descriptors, keypoints and reliability out."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from keras_sare.models.importers.formats.state_dict import StateDict
from keras_sare.models.importers.torchvision import kernel

Shape = tuple[int | None, ...]

STRIDE = 32
"""Sides of the input are multiples of it."""
CELL = 8
"""Pixels to each side that share a position of the maps."""
DIM = 64
"""Of a descriptor."""
EPSILON = 1e-5
"""Of batch and instance normalisation."""

# (filters, kernel size, stride) of the convolutions of each part that have a batch normalisation and ReLU.
PARTS = {
    "block1": ((4, 3, 1), (8, 3, 2), (8, 3, 1), (24, 3, 2)),
    "block2": ((24, 3, 1), (24, 3, 1)),
    "block3": ((64, 3, 2), (64, 3, 1), (64, 1, 1)),
    "block4": ((64, 3, 2), (64, 3, 1), (64, 3, 1)),
    "block5": ((128, 3, 2), (128, 3, 1), (128, 3, 1), (64, 1, 1)),
    "block_fusion": ((64, 3, 1), (64, 3, 1)),
    "heatmap_head": ((64, 1, 1), (64, 1, 1)),
    # The pixels of a cell are the channels of the first, a 1x1 convolution: one of 8x8 at stride 8 is the same.
    "keypoint_head": ((64, CELL, CELL), (64, 1, 1), (64, 1, 1)),
}
# Filters of the 1x1 convolutions that stand alone, by their names in the authors' file.
ALONE = {"skip1.1": 24, "block_fusion.2": DIM, "heatmap_head.2": 1, "keypoint_head.3": CELL * CELL + 1}


class Enlarged(layers.Layer):
    """A map resized bilinearly to the size of another.

    TensorFlow's own operation: `UpSampling2D` and `keras.ops.image.resize` want sizes that are known when they trace.
    """

    def call(self, x: keras.KerasTensor, like: keras.KerasTensor) -> keras.KerasTensor:
        return tf.image.resize(x, tf.shape(like)[1:3])

    def compute_output_shape(self, x_shape: Shape, like_shape: Shape) -> Shape:
        return (x_shape[0], *like_shape[1:3], x_shape[3])


def xfeat_network(state: StateDict) -> keras.Model:
    """XFeat (Potje et al., "XFeat: accelerated features for lightweight image matching", CVPR 2024, section 3).

    Batch normalisation is part of the convolutions: the network is made for inference.

    Args:
        state: the authors' weights. Those of the refinement of semi-dense matches (`fine_matcher`) are left out.

    Returns:
        Model of RGB images 0..255 [batch, height, width, 3], whose sides are multiples of 32. It gives descriptors
        [batch, height / 8, width / 8, 64], not normalised; for each cell the probabilities of its 64 pixels, row by
        row, to be the keypoint, and last that there is none [.., 65]; and the reliability of each cell, 0..1 [.., 1].

    Raises:
        ValueError: an array is missing, left over or of an odd shape.
    """
    images = keras.Input((None, None, 3), name="images")
    grey = ops.mean(images / 255.0, axis=-1, keepdims=True)
    grey = layers.LayerNormalization((1, 2, 3), EPSILON, center=False, scale=False, name="normalized")(grey)
    skipped = _alone(layers.AveragePooling2D(4, name="skip1.0")(grey), "skip1.1")
    quarter = _part(_part(grey, "block1") + skipped, "block2")
    eighth = _part(quarter, "block3")
    sixteenth = _part(eighth, "block4")
    last = _part(sixteenth, "block5")
    # The pyramid: what a cell cannot see comes from coarser maps.
    fused = eighth + Enlarged(name="enlarged4")(sixteenth, eighth) + Enlarged(name="enlarged5")(last, eighth)
    descriptors = _alone(_part(fused, "block_fusion"), "block_fusion.2")
    reliability = layers.Activation("sigmoid", name="reliability")(
        _alone(_part(descriptors, "heatmap_head"), "heatmap_head.2")
    )
    keypoints = layers.Softmax(name="keypoints")(_alone(_part(grey, "keypoint_head"), "keypoint_head.3"))
    network = keras.Model(images, [descriptors, keypoints, reliability], name="xfeat")
    _set_weights(network, state)
    return network


def _part(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    for i, (filters, size, stride) in enumerate(PARTS[name]):
        padded = size == 3
        if padded:  # To each side alike; "same" pads even sides on one side only.
            x = layers.ZeroPadding2D(1, name=f"{name}.{i}.pad")(x)
        x = layers.Conv2D(filters, size, stride, activation="relu", name=f"{name}.{i}")(x)
    return x


def _alone(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.Conv2D(ALONE[name], 1, name=name)(x)


def _set_weights(network: keras.Model, state: StateDict) -> None:
    channels = {"block1": 1, "block2": 24, "block3": 24, "keypoint_head": CELL * CELL}
    for part, convolutions in PARTS.items():
        inputs = channels.get(part, 64)
        for i, (filters, size, _) in enumerate(convolutions):
            prefix = f"{part}.{i}.layer"
            weight, bias = _folded(state, prefix, filters, inputs, 1 if size == CELL else size)
            if size == CELL:
                weight = weight.reshape(filters, 1, CELL, CELL)
            network.get_layer(f"{part}.{i}").set_weights([kernel(weight), bias])
            inputs = filters
    for name, filters in ALONE.items():
        weight = state.take(f"{name}.weight", filters, 1 if name == "skip1.1" else DIM, 1, 1)
        network.get_layer(name).set_weights([kernel(weight), state.take(f"{name}.bias", filters)])
    state.drop("fine_matcher.")
    state.finish()


def _folded(state: StateDict, prefix: str, filters: int, inputs: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A convolution without a bias and the batch normalisation after it as one convolution."""
    weight = state.take(f"{prefix}.0.weight", filters, inputs, size, size).astype(np.float64)
    mean = state.take(f"{prefix}.1.running_mean", filters).astype(np.float64)
    variance = state.take(f"{prefix}.1.running_var", filters).astype(np.float64)
    state.drop(f"{prefix}.1.num_batches_tracked")
    scale = 1 / np.sqrt(variance + EPSILON)
    return (weight * scale[:, None, None, None]).astype(np.float32), (-mean * scale).astype(np.float32)
