import threading

import numpy as np
import pytest
import tensorflow as tf

from keras_sare.mining import tuple_dataset

ROWS = np.arange(51).reshape(17, 3)


def gather(ids):
    return tf.cast(ids, tf.float32)[:, None] * 2


def batches(*args, **kwargs):
    return list(tuple_dataset(*args, **kwargs).as_numpy_iterator())


def test_batches_hold_the_ids_and_what_gather_makes_of_them():
    found = batches(ROWS, gather, 2)
    assert len(found) == 8  # the last row fills no batch
    for i, (ids, inputs) in enumerate(found):
        np.testing.assert_array_equal(ids, ROWS[2 * i : 2 * i + 2])
        np.testing.assert_array_equal(inputs[..., 0], 2.0 * ids)
    assert found[0][0].dtype == np.int64


def test_gather_is_given_one_tuple_at_a_time_so_that_it_can_know_the_query():
    found = batches(ROWS, lambda ids: tf.repeat(ids[:1], 3), 4)
    np.testing.assert_array_equal(found[1][1], np.repeat(ROWS[4:8, :1], 3, axis=1))


def test_what_gather_makes_may_be_a_structure():
    def padded(ids):
        return {"values": tf.cast(ids, tf.float16)[:, None], "sizes": tf.stack([ids, ids + 1], 1)}

    for ids, inputs in batches(ROWS, padded, 2):
        np.testing.assert_array_equal(inputs["values"][..., 0], ids)
        np.testing.assert_array_equal(inputs["sizes"], np.stack([ids, ids + 1], -1))


def test_every_pass_is_the_same():
    dataset = tuple_dataset(ROWS, gather, 2)
    for first, second in zip(dataset, dataset, strict=True):
        np.testing.assert_array_equal(first[0], second[0])


@pytest.mark.parametrize(("batch", "workers"), [(4, 1), (2, 2), (1, 4)])
def test_every_split_over_workers_sees_the_same_tuples_step_by_step(batch, workers):
    shares = [batches(ROWS, gather, batch, share=(index, workers)) for index in range(workers)]
    steps = [np.concatenate([ids for ids, _ in step]) for step in zip(*shares, strict=True)]
    np.testing.assert_array_equal(np.concatenate(steps), ROWS[:16])
    assert [len(step) for step in steps] == [4] * 4


def test_two_replicas_take_two_batches_for_one_step():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    data = strategy.distribute_datasets_from_function(lambda context: tuple_dataset(ROWS[:16], gather, 2))
    for step, (ids, _) in enumerate(data):
        parts = strategy.experimental_local_results(ids)
        np.testing.assert_array_equal(np.concatenate(parts), ROWS[4 * step : 4 * step + 4])
    assert step == 3


def test_rows_are_read_only_a_little_ahead():
    read = []
    changed = threading.Condition()
    taken = 0
    # Those taken, a batch that waits and one that is made, and four being read.
    ahead = []
    most = 2 * 5 + 4

    def count(ids):
        with changed:
            read.append(int(ids[0]))
            ahead.append(len(read) - taken)
            changed.notify()
        return ids

    rows = np.arange(600).reshape(200, 3)
    batches = iter(tuple_dataset(rows, lambda ids: tf.numpy_function(count, [ids], tf.int64), 5))
    for step in range(40):
        next(batches)
        with changed:
            taken = 5 * (step + 1)
            # Lets it read ahead.
            assert changed.wait_for(lambda: len(read) >= min(taken + 5, 200), timeout=60)  # noqa: B023
    assert len(read) == 200
    # The batch that is being taken counts as one ahead until it is.
    assert 5 < max(ahead) <= most + 5


def test_rows_that_are_no_tuples_are_refused():
    with pytest.raises(ValueError, match=r"`rows` must be integers \[tuples, tuple size\].*rows.shape=\(51,\)"):
        tuple_dataset(ROWS.ravel(), gather, 2)
    with pytest.raises(ValueError, match="rows.dtype=float32"):
        tuple_dataset(ROWS.astype("float32"), gather, 2)


def test_too_few_rows_for_all_workers_are_refused():
    with pytest.raises(ValueError, match=r"every worker, 18 tuples. Received: len\(rows\)=17"):
        tuple_dataset(ROWS, gather, 9, share=(0, 2))


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="`batch` must be at least 1. Received: batch=0"):
        tuple_dataset(ROWS, gather, 0)


@pytest.mark.parametrize("share", [(2, 2), (-1, 2), (0, 0)])
def test_a_share_of_no_worker_is_refused(share):
    with pytest.raises(ValueError, match=r"0 <= index < count. Received: share=\("):
        tuple_dataset(ROWS, gather, 1, share=share)
