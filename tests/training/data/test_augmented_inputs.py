from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_sare.datasets import Augmentation
from keras_sare.mining import tuple_dataset
from keras_sare.training.data.augmented_inputs import AugmentedInputs

CHANGES = Augmentation(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, scale=0.3, flip=True)
IDS = np.array([3, 0, 0, 2])


@pytest.fixture
def images(make_places):
    return make_places("train", 5, seed=0).inputs


@pytest.fixture
def make_inputs(images):
    def make(augmentation=CHANGES, seed=0):
        return AugmentedInputs(images.paths, images.size, augmentation, seed)

    return make


def dataset_of(inputs, epoch=1, ids=IDS):
    """As `tuple_dataset` reads: without AutoGraph."""
    return tf.data.Dataset.from_tensors(ids).map(tf.autograph.experimental.do_not_convert(inputs.for_epoch(epoch)))


def read(*arguments, **options):
    return next(dataset_of(*arguments, **options).as_numpy_iterator())


def test_pixels_come_in_the_shape_that_plain_ones_have(make_inputs, images):
    dataset = dataset_of(make_inputs())
    assert dataset.element_spec == tf.TensorSpec((4, *images.size, 3), tf.float32)
    pixels = next(dataset.as_numpy_iterator())
    assert pixels.min() >= 0
    assert pixels.max() <= 255
    assert not np.array_equal(pixels, images.gather(tf.constant(IDS)))


def test_without_changes_the_pixels_are_the_files(make_inputs, images):
    np.testing.assert_array_equal(read(make_inputs(Augmentation())), images.gather(tf.constant(IDS)))


def test_eager_calls_read_what_datasets_read(make_inputs):
    np.testing.assert_allclose(make_inputs().for_epoch(1)(tf.constant(IDS)), read(make_inputs()), atol=1e-4)


def test_another_object_repeats_the_pixels_of_an_epoch(make_inputs):
    np.testing.assert_array_equal(read(make_inputs()), read(make_inputs()))


def test_epochs_and_seeds_differ_and_do_not_stand_for_each_other(make_inputs):
    pixels = [read(make_inputs(seed=seed), epoch=epoch) for seed, epoch in ((0, 1), (0, 2), (1, 1), (2, 1), (1, 2))]
    assert len({one.tobytes() for one in pixels}) == len(pixels)


def test_one_image_in_two_slots_or_tuples_is_changed_otherwise_in_each(make_inputs):
    pixels = [read(make_inputs()), read(make_inputs(), ids=np.array([1, 0, 0, 2]))]
    copies = [pixels[0][1], pixels[0][2], pixels[1][1], pixels[1][2]]
    assert len({copy.tobytes() for copy in copies}) == len(copies)


def test_a_tuple_does_not_depend_on_those_before_it(make_inputs):
    """As when a run is resumed in mid-epoch."""
    rows = np.random.default_rng(0).integers(0, 5, (8, 4))
    gather = make_inputs().for_epoch(1)
    whole = list(tuple_dataset(rows, gather, 2))
    rest = list(tuple_dataset(rows[4:], gather, 2))
    for (_, expected), (_, pixels) in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(pixels, expected)


def test_an_image_that_cannot_be_read_is_named(make_inputs, images):
    Path(images.paths[2]).write_bytes(b"not a picture")
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{images.paths[2]}: not a JPEG, PNG, GIF or WebP image"):
        read(make_inputs())


def test_a_longer_side_instead_of_a_size_is_refused():
    with pytest.raises(ValueError, match=r"`size` must be \(height, width\).*not augmented. Received: size=362"):
        AugmentedInputs(np.array(["a.jpg"]), 362, Augmentation(flip=True), 0)
