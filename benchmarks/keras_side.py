"""This library's training step, cache refresh and extraction, as commands for `against_pytorch.py`.

Maps of the frozen layers come through the library's own store and pipeline: PNG files of the images are written to the
folder, stored once by `open_places`, and read by `StoredInputs` and `tuple_dataset` as in training. Decoded images lie
in memory.
"""

import argparse
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from machine import disk_rate, limit_threads, matrix_rate, memory_rate, multiplications, step_multiplications
from PIL import Image
from same_images import CLUSTERS, pixels
from sides import serve

from keras_sare import models
from keras_sare.datasets import ImageSet, PlaceDataset
from keras_sare.extraction.extractor import Extractor
from keras_sare.losses import SARELoss
from keras_sare.mining import tuple_dataset
from keras_sare.training import Places, PlaceSettings, open_places
from keras_sare.training.step import make_train_step

FIRST_TRAINED = "conv5_1"
STORED = 48
"""Images in the store."""
BATCH = 8
"""Images in a batch of a cache refresh."""

Size = tuple[int, int]


@cache
def network(precision: str = "float32") -> keras.Model:
    """VGG16 and NetVLAD with the other side's weights."""
    arrays = np.load(REFERENCE)
    options = {"clusters": CLUSTERS, "normalization": "torch"}
    model = models.build("vgg16_netvlad", None, preprocessing="torch", options=options)
    for i, layer in enumerate(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)):
        layer.set_weights([arrays[f"kernel_{i}"], arrays[f"bias_{i}"]])
    model.get_layer("netvlad").set_weights([arrays["assignment"], arrays["centroids"]])
    models.freeze_before(model, FIRST_TRAINED)
    models.set_precision(model, precision)
    return model


def difference(size: Size, images: int) -> Callable[[], float]:
    """Largest difference of a descriptor's element from the other side's."""

    def run() -> float:
        descriptors = network()(pixels(size, images), training=False).numpy()
        return float(np.abs(descriptors - np.load(REFERENCE)["descriptors"]).max())

    return run


def places(size: Size) -> Places:
    """The images as a dataset whose frozen layers are stored."""
    folder = FOLDER / f"{size[0]}x{size[1]}"
    files = [folder / f"{i:03d}.png" for i in range(STORED)]
    if not files[-1].exists():
        folder.mkdir(exist_ok=True)
        for file, image in zip(files, pixels(size, STORED), strict=True):
            Image.fromarray(image).save(file)
    images = ImageSet(np.array([str(file) for file in files]), np.zeros((STORED, 2)))
    dataset = PlaceDataset("images", images.subset(np.arange(1, STORED)), images.subset(np.arange(1)))
    trunk, _ = models.split(network(), FIRST_TRAINED)
    settings = PlaceSettings(extraction_batch=BATCH)
    return open_places({"train": dataset}, trunk, size, settings, folder, 1e12)["train"]


def step_stored(size: Size, images: int, precision: str) -> Callable[[], float]:
    """A training step on one tuple whose maps are read from the store; gives the loss."""
    stored = places(size)
    _, head = models.split(network(precision), FIRST_TRAINED)
    # The first tuple has the other side's images: the query is the last id.
    others = np.random.RandomState(0).randint(0, STORED, (STORED, images))
    rows = np.concatenate([[[STORED - 1, *range(images - 1)]], others])
    batches = iter(tuple_dataset(rows, stored.inputs.gather, 1).repeat())
    step = _step(head)
    return lambda: float(step(*next(batches)))


def step_pixels(size: Size, images: int, precision: str) -> Callable[[], float]:
    """A training step on one tuple of decoded images, frozen layers computed in the step; gives the loss."""
    trunk, head = models.split(network(precision), FIRST_TRAINED)
    step = _step(head, frozen=trunk)
    ids = tf.range(images, dtype=tf.int64)[None]
    batch = tf.constant(pixels(size, images), tf.float32)[None]
    return lambda: float(step(ids, batch))


def refresh(size: Size, precision: str) -> Callable[[], None]:
    """Descriptors of all images of the store, as a cache refresh computes them."""
    stored = places(size)
    _, head = models.split(network(precision), FIRST_TRAINED)
    extractor = Extractor(head, tf.distribute.get_strategy())

    def run() -> None:
        stored.extract(extractor, np.arange(STORED), "")

    return run


def extract(size: Size, images: int, precision: str) -> Callable[[], None]:
    """Descriptors of a batch of decoded images."""
    extractor = Extractor(network(precision))
    batch = np.arange(images), tf.constant(pixels(size, images), tf.float32)

    def run() -> None:
        extractor([batch], images)

    return run


def rates() -> Callable[[], dict[str, float]]:
    """What the machine can do now."""

    def run() -> dict[str, float]:
        matrix = {dtype: matrix_rate(dtype) for dtype in ("float32", "bfloat16")}
        return {**matrix, "memory": memory_rate(), "disk": disk_rate(FOLDER)}

    return run


def work(size: Size) -> Callable[[], dict[str, float]]:
    """Multiplications and bytes of the figures, for one image."""

    def run() -> dict[str, float]:
        whole = multiplications(network(), (*size, 3))
        names = list(whole)
        head = {name: whole[name] for name in names[names.index(FIRST_TRAINED) :]}
        maps = models.split(network(), FIRST_TRAINED)[0].compute_output_shape((1, *size, 3))
        return {
            "step_stored": step_multiplications(head, FIRST_TRAINED),
            "step_pixels": step_multiplications(whole, FIRST_TRAINED),
            "refresh": sum(head.values()),
            "extract": sum(whole.values()),
            "stored_bytes": 2 * int(np.prod(maps)),
        }

    return run


def _step(head: keras.Model, frozen: keras.Model | None = None) -> Callable[[Any, Any], Any]:
    optimizer = keras.optimizers.SGD(1e-3, momentum=0.9)
    optimizer.build(head.trainable_variables)
    return make_train_step(tf.distribute.get_strategy(), head, SARELoss(), optimizer, 1e-3, frozen=frozen)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="For the images and the store.")
    parser.add_argument("reference", type=Path, help="What the other side's `write_reference` wrote.")
    flags = parser.parse_args()
    FOLDER = flags.folder
    REFERENCE = flags.reference
    limit_threads()
    figures = (difference, step_stored, step_pixels, refresh, extract, rates, work)
    serve({figure.__name__: figure for figure in figures})
