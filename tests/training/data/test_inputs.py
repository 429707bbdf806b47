import numpy as np
import pytest
import tensorflow as tf

from keras_sare.datasets import load_image
from keras_sare.extraction import StoredInputs
from keras_sare.training.feature_store.chunk_files import ChunkFiles


@pytest.fixture
def images(make_places):
    return make_places("train", 5, seed=0).inputs


def test_gather_reads_the_asked_images_in_order(images):
    dataset = tf.data.Dataset.from_tensors(np.array([3, 0, 3])).map(images.gather)
    expected = [load_image(images.paths[i], images.size) for i in (3, 0, 3)]
    np.testing.assert_array_equal(next(dataset.as_numpy_iterator()), np.stack(expected))


def test_batches_name_the_position_of_each_image(images):
    ids = np.array([4, 2, 0])
    for positions, pixels in images.batches(ids, 2).as_numpy_iterator():
        for position, image in zip(positions, pixels, strict=True):
            np.testing.assert_array_equal(image, load_image(images.paths[ids[position]], images.size))


def test_stored_rows_are_gathered_and_batched_like_images():
    array = np.arange(24, dtype="float16").reshape(4, 2, 3)
    stored = StoredInputs(array)
    dataset = tf.data.Dataset.from_tensors(np.array([3, 1])).map(stored.gather)
    np.testing.assert_array_equal(next(dataset.as_numpy_iterator()), array[[3, 1]])
    batches = list(stored.batches(np.array([2, 0, 3]), 2).as_numpy_iterator())
    np.testing.assert_array_equal(np.concatenate([p for p, _ in batches]), [0, 1, 2])
    np.testing.assert_array_equal(np.concatenate([x for _, x in batches]), array[[2, 0, 3]])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_rows_of_files_reach_tensorflow_in_their_dtype(tmp_path, dtype):
    values = np.arange(24, dtype="float32").reshape(4, 2, 3)
    files = ChunkFiles(tmp_path, values.shape, dtype, 3)
    for number in (0, 1):
        files.write(number, values[files.rows(number)])

    class Array:
        shape = values.shape
        dtype = files.dtype

        def __getitem__(self, ids):
            return files.read(ids)

    [rows] = tf.data.Dataset.from_tensors(np.array([3, 1, 3])).map(StoredInputs(Array()).gather)
    assert rows.dtype == dtype
    np.testing.assert_array_equal(tf.cast(rows, tf.float32), values[[3, 1, 3]])
