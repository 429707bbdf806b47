import numpy as np
import tensorflow as tf

from keras_sare.mining import tuple_dataset


def test_batches_hold_the_mined_ids_and_what_gather_makes_of_them():
    rows = np.arange(21).reshape(7, 3)
    dataset = tuple_dataset(lambda: iter(rows), lambda ids: tf.cast(ids, tf.float32)[:, None] * 2, 3, 2)
    batches = list(dataset.as_numpy_iterator())
    assert len(batches) == 3  # the seventh row fills no batch
    for i, (ids, inputs) in enumerate(batches):
        np.testing.assert_array_equal(ids, rows[2 * i : 2 * i + 2])
        np.testing.assert_array_equal(inputs[..., 0], 2.0 * ids)


def test_every_pass_mines_anew():
    calls = []

    def rows():
        calls.append(1)
        return iter(np.zeros((2, 3), np.int64))

    dataset = tuple_dataset(rows, lambda ids: ids, 3, 2)
    list(dataset)
    list(dataset)
    assert len(calls) == 2
