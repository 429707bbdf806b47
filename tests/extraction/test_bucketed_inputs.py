import numpy as np
import pytest
import tensorflow as tf

from keras_sare.datasets import image_batches
from keras_sare.extraction import StoredInputs
from keras_sare.extraction.bucketed_inputs import BucketedInputs
from keras_sare.mining import tuple_dataset

SIZES = np.array([[2, 3], [4, 2], [2, 3], [2, 3], [4, 2], [1, 1]])
"""Of images 0 to 5."""


def image(i, dtype="float32"):
    """Its values are 100 i, 100 i + 1, ..."""
    height, width = SIZES[i]
    return (100 * i + np.arange(height * width * 2)).reshape(height, width, 2).astype(dtype)


def make_parts(dtype="float32"):
    ids = [np.array([5]), np.array([2, 0, 3]), np.array([1, 4])]
    return [(part, np.stack([image(i, dtype) for i in part])) for part in ids]


@pytest.fixture
def inputs():
    return BucketedInputs(make_parts())


def test_nothing_tunes_a_dataset_so_that_it_ends_at_once(inputs):
    ids = np.arange(4)
    datasets = {
        "files": image_batches(["a.jpg", "b.jpg"], (8, 8), 2),
        "files of any size": image_batches(["a.jpg", "b.jpg"], None, 2),
        "rows": StoredInputs(np.zeros((4, 3))).batches(ids, 2),
        "rows of unlike sizes": inputs.batches(ids, 2),
        "tuples": tuple_dataset(ids.reshape(2, 2), StoredInputs(np.zeros((4, 3))).gather, 1),
    }
    assert [name for name, dataset in datasets.items() if dataset.options().autotune.enabled is not False] == []


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_batches_have_one_size_and_name_the_position_of_each_image(inputs, batch_size):
    ids = np.array([4, 0, 5, 3, 1, 2, 0])
    seen = []
    for positions, values in inputs.batches(ids, batch_size).as_numpy_iterator():
        assert len(positions) == len(values) <= batch_size
        for position, value in zip(positions, values, strict=True):
            np.testing.assert_array_equal(value, image(ids[position]))
        seen.extend(positions)
    assert sorted(seen) == list(range(7))


def test_batches_are_as_few_as_sizes_allow(inputs):
    lengths = [len(positions) for positions, _ in inputs.batches(np.array([4, 0, 5, 3, 1, 2, 0]), 3)]
    assert lengths == [1, 3, 1, 2]


def test_no_ids_give_no_batches(inputs):
    assert list(inputs.batches(np.arange(0), 4)) == []


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_tuples_are_padded_to_the_largest_height_and_the_largest_width_of_all(dtype):
    [gathered] = tf.data.Dataset.from_tensors(np.array([5, 1, 0, 5])).map(BucketedInputs(make_parts(dtype)).gather)
    assert gathered["values"].dtype == dtype
    assert gathered["values"].shape == (4, 4, 3, 2)
    np.testing.assert_array_equal(gathered["sizes"], SIZES[[5, 1, 0, 5]])
    assert gathered["sizes"].dtype == tf.int32
    for i, values in zip([5, 1, 0, 5], gathered["values"].numpy(), strict=True):
        height, width = SIZES[i]
        np.testing.assert_array_equal(values[:height, :width], image(i, dtype))
        assert values.astype("float32").sum() == image(i).sum()


def test_shapes_of_tuples_are_known_beforehand_so_that_they_fit_together_in_batches(inputs):
    rows = np.array([[0, 2, 3], [1, 4, 5], [5, 0, 1]])
    dataset = tuple_dataset(rows, inputs.gather, 3)
    _, spec = dataset.element_spec
    assert spec["values"].shape[2:] == (4, 3, 2)
    assert spec["sizes"].shape[2:] == (2,)
    [(ids, batch)] = dataset.as_numpy_iterator()
    np.testing.assert_array_equal(batch["sizes"], SIZES[ids])


def test_bfloat16_rows_are_padded_too():
    bfloat16 = tf.bfloat16.as_numpy_dtype
    gathered = BucketedInputs(make_parts(bfloat16)).gather(tf.constant([1, 5], tf.int64))
    np.testing.assert_array_equal(gathered["values"][0, :, :2], image(1, bfloat16))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda parts: parts[:2], "each image once: ids 0 to N - 1. Received: 4 ids in 2 parts"),
        (lambda parts: [*parts, parts[0]], "each image once"),
        (lambda parts: [], "each image once: ids 0 to N - 1. Received: 0 ids in 0 parts"),
        (lambda parts: [(parts[0][0], np.zeros((2, 1, 1, 2))), *parts[1:]], r"Received: 1 ids with .* \(2, 1, 1, 2\)"),
        (lambda parts: [(parts[0][0], np.zeros((1, 2))), *parts[1:]], r"\[n, height, width, channels\].*\(1, 2\)"),
        (lambda parts: [(parts[0][0], np.zeros((1, 1, 1, 3), "f")), *parts[1:]], "agree in their number of channels"),
        (lambda parts: [(parts[0][0], np.zeros((1, 1, 1, 2), "i")), *parts[1:]], r"dtype. Received: .*'int32'"),
    ],
    ids=["missing", "twice", "none", "other rows", "no images", "channels", "dtype"],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        BucketedInputs(change(make_parts()))
