import dataclasses
import functools
import importlib
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sare.extraction.bucketed_inputs import BucketedInputs
from keras_sare.extraction.cropped_inputs import CroppedImageInputs
from keras_sare.extraction.extractor import Extractor
from keras_sare.losses import SARELoss
from keras_sare.mining import tuple_dataset
from keras_sare.models import split
from keras_sare.training import FeatureStore, TrainingSettings
from keras_sare.training.feature_store.open_feature_store import open_feature_store
from keras_sare.training.stage_timer import StageTimer
from keras_sare.training.step import make_train_step

module = importlib.import_module("keras_sare.training.feature_store.open_feature_store")
SIZES = {"test": [(24, 32)], "train": [(24, 32), (32, 24), (32, 32)] * 3, "val": [(32, 24), (30, 40)]}
"""Sizes of the images; those of 24 pixels lose 8 of them, and (30, 40) becomes (24, 32)."""


@pytest.fixture
def paths(tmp_path):
    """By split."""
    files = {}
    for name, sizes in SIZES.items():
        files[name] = np.array([str(tmp_path / f"{name}_{i}.png") for i in range(len(sizes))], np.dtypes.StringDType())
        for i, (path, (height, width)) in enumerate(zip(files[name], sizes, strict=True)):
            pixels = np.random.default_rng([i, len(name)]).integers(0, 255, (height, width, 3), "uint8")
            Image.fromarray(pixels).save(path)
    return files


@pytest.fixture
def open_with(paths, make_model, tmp_path, monkeypatch):
    """Opens with two images in a file, and returns the inputs, whether they are stored, the trunk and the head."""
    monkeypatch.setattr(module, "FeatureStore", functools.partial(FeatureStore, file_bytes=2 * 14 * 30 * 8 * 2))

    def open_with(limit=1e6, size=32, strategy=None, settings=None, **options):
        trunk, head = split(make_model(strategy, initialise=False), "conv2")
        settings = settings or TrainingSettings(extraction_batch=2)
        folder = tmp_path / "store"
        inputs, stored = open_feature_store(paths, trunk, size, settings, folder, limit, strategy=strategy, **options)
        return inputs, stored, trunk, head

    return open_with


def of_part(inputs, kind):
    return {name: [part for part in one.parts if isinstance(part, kind)] for name, one in inputs.items()}


def describe(model, inputs, count, strategy=None):
    return Extractor(model, strategy or tf.distribute.get_strategy()).extract(inputs, np.arange(count), 2)


def flat(variables):
    return np.concatenate([keras.ops.convert_to_numpy(v).ravel() for v in variables])


def test_every_split_has_a_store_for_each_size(open_with):
    inputs, stored, _, _ = open_with()
    assert stored
    assert list(inputs) == list(SIZES)
    assert all(isinstance(one, BucketedInputs) for one in inputs.values())
    shapes = {name: [store.shape for store in stores] for name, stores in of_part(inputs, FeatureStore).items()}
    assert shapes == {
        "test": [(1, 14, 30, 8)],
        "train": [(3, 14, 30, 8), (3, 30, 14, 8), (3, 30, 30, 8)],
        "val": [(1, 14, 30, 8), (1, 30, 14, 8)],
    }
    assert all(store.files.present.all() for stores in of_part(inputs, FeatureStore).values() for store in stores)


def test_inputs_are_cropped_pixels_where_nothing_is_stored(open_with):
    inputs, stored, _, _ = open_with(limit=0)
    assert not stored
    assert {name: len(parts) for name, parts in of_part(inputs, CroppedImageInputs).items()} == {
        "test": 1,
        "train": 3,
        "val": 2,
    }


def test_second_opening_computes_nothing(open_with, monkeypatch):
    open_with()
    monkeypatch.setattr(FeatureStore, "compute", None)  # would fail if called
    assert open_with()[1]


def test_time_of_the_frozen_layers_is_told(open_with):
    first = StageTimer()
    again = StageTimer()
    open_with(times=first)
    open_with(times=again)
    assert first.seconds()["frozen_layers"] > again.seconds()["frozen_layers"] >= 0
    nothing = StageTimer()
    open_with(limit=0, times=nothing)
    assert nothing.seconds()["frozen_layers"] == 0


def test_training_comes_first_where_not_everything_fits(open_with):
    """The maps of two images of 14 x 30 take 13.4 KB, those of one of 30 x 30 14.4 KB."""
    inputs, stored, _, _ = open_with(limit=64e3)
    present = {name: [s.files.present.tolist() for s in ss] for name, ss in of_part(inputs, FeatureStore).items()}
    assert stored
    assert present["train"] == [[True, True], [True, True], [True, False, False]]
    assert present["val"] == [[False], [False]]
    assert present["test"] == [[False]]


def test_one_progress_bar_for_each_split(open_with, monkeypatch):
    bars = []

    def progress(items, description, total, *rest, **options):
        items = list(items)
        bars.append((description, total, sum(items)))
        return items

    monkeypatch.setattr(module, "progress", progress)
    open_with()
    assert bars == [("frozen layers: train", 9, 9), ("frozen layers: val", 2, 2), ("frozen layers: test", 1, 1)]


def test_number_of_sizes_is_logged(open_with, caplog):
    caplog.set_level(logging.INFO, "keras_sare")
    open_with()
    assert "Sizes of images: 3 different ones of 9 images, longer side 32" in caplog.text
    assert "Output of the frozen layers: 0.00 GB for 12 images" in caplog.text


def test_descriptors_are_those_of_the_whole_model_stored_or_not_and_over_replicas(open_with, mirrored):
    pixels, _, trunk, head = open_with(limit=0)
    expected = describe(keras.Model(trunk.input, head(trunk.output)), pixels["train"], 9)
    assert np.ptp(expected, axis=0).max() > 0.01
    stored, _, _, head = open_with(dtype="float32")
    np.testing.assert_allclose(describe(head, stored["train"], 9), expected, atol=1e-6)
    shared, _, _, head = open_with(dtype="float32", strategy=mirrored)
    np.testing.assert_allclose(describe(head, shared["train"], 9, mirrored), expected, atol=1e-6)


def test_steps_train_on_stored_maps_of_unlike_sizes_as_two_replicas_do_on_pixels(open_with, mirrored):
    rows = np.array([[0, 1, 2, 3], [4, 1, 6, 8], [5, 7, 2, 0], [3, 4, 5, 6]])
    weights = []
    for limit, strategy in ((1e6, tf.distribute.get_strategy()), (0, mirrored)):
        inputs, stored, trunk, head = open_with(limit, dtype="float32", strategy=strategy)
        with strategy.scope():
            optimizer = keras.optimizers.SGD(1.0)  # Small steps would drown in the rounding of the weights.
            optimizer.build(head.trainable_variables)
        before = flat(head.trainable_variables)
        frozen = None if stored else trunk
        step = make_train_step(strategy, head, SARELoss(), optimizer, 0.0, frozen=frozen)

        def batches(context, gather=inputs["train"].gather):
            return tuple_dataset(rows, gather, context.get_per_replica_batch_size(4))

        [batch] = strategy.distribute_datasets_from_function(batches)
        assert float(step(*batch)) > 0
        weights.append(flat(head.trainable_variables) - before)
    # The gradient is made of small differences of descriptors: float32 gives 1.4e-5, with SSE4.1 alone 2.7e-5.
    assert np.linalg.norm(weights[1] - weights[0]) < 1e-4 * np.linalg.norm(weights[0])


def test_size_of_two_numbers_distorts_as_before(open_with):
    inputs, stored, _, _ = open_with(limit=0, size=(24, 32))
    assert not stored
    assert inputs["train"].gather(tf.constant([0, 1], tf.int64)).shape == (2, 24, 32, 3)


def test_unknown_dtype_is_refused(open_with):
    with pytest.raises(ValueError, match="`dtype` must be one of float16, bfloat16, float32. Received: dtype='int8'"):
        open_with(dtype="int8")


def test_batch_size_is_that_of_the_settings(open_with, monkeypatch):
    sizes = []
    compute = FeatureStore.compute
    monkeypatch.setattr(FeatureStore, "compute", lambda *args: sizes.append(len(args[1])) or compute(*args))
    settings = dataclasses.replace(TrainingSettings(), extraction_batch=3)
    open_with(settings=settings)
    assert sizes == [3, 3, 3, 1, 1, 1]
