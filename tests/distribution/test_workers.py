import threading
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from keras_sare.distribution import workers as workers_module
from keras_sare.distribution.workers import WorkerLostError, Workers


class Exchange:
    """Stands for the network between workers that are threads of this process."""

    def __init__(self, count):
        self.rows = [None] * count
        self.all_here = threading.Barrier(count, timeout=10)
        self.calls = 0

    def __call__(self, index, rows):
        self.rows[index] = rows.copy()
        self.all_here.wait()
        everything = np.concatenate(self.rows)
        self.calls += index == 0
        self.all_here.wait()
        return everything


def make_workers(count, exchange=None, cluster=None):
    """One object for each worker of a cluster, as they would be in as many processes."""
    cluster = cluster or {"worker": ["somewhere:1"] * count}
    made = []
    for kind, index in [(job, i) for job, addresses in cluster.items() for i in range(len(addresses))]:
        resolver = SimpleNamespace(
            cluster_spec=lambda: SimpleNamespace(as_dict=lambda: cluster), task_type=kind, task_id=index
        )
        one = Workers(SimpleNamespace(cluster_resolver=resolver, num_replicas_in_sync=count))
        one.exchange = lambda rows, one=one: exchange(one.index, rows)
        made.append(one)
    return made


def in_threads(workers, function):
    results = [None] * len(workers)

    def run(worker):
        results[worker.index] = function(worker)

    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize(
    "make_strategy",
    [tf.distribute.get_strategy, lambda: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])],
    ids=["default", "mirrored"],
)
def test_one_process_has_all_the_work_and_gathers_what_it_gives(make_strategy):
    workers = Workers(make_strategy())
    assert (workers.index, workers.count, workers.is_chief) == (0, 1, True)
    np.testing.assert_array_equal(workers.shard(5), np.arange(5))
    rows = np.ones((5, 2))
    assert workers.all_gather(rows, 5) is rows
    np.testing.assert_array_equal(workers.broadcast(rows[0]), rows[0])
    workers.all_gather_into(rows)
    workers.barrier()


def test_replicas_of_one_process_are_counted():
    assert Workers(tf.distribute.get_strategy()).local_replicas == 1
    assert Workers(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])).local_replicas == 2


def test_chief_comes_before_the_workers():
    chief, *others = make_workers(3, cluster={"chief": ["a:1"], "worker": ["b:1", "c:1"]})
    assert (chief.index, chief.count, chief.is_chief) == (0, 3, True)
    assert [(w.index, w.is_chief) for w in others] == [(1, False), (2, False)]


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("n", [0, 1, 2, 7, 9])
def test_shares_follow_one_another_and_differ_by_one_at_most(count, n):
    shares = [worker.shard(n) for worker in make_workers(count)]
    np.testing.assert_array_equal(np.concatenate(shares), np.arange(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
@pytest.mark.parametrize("piece_bytes", [1, 40, 1 << 20])
def test_every_worker_gets_all_rows_in_order_whatever_travels_at_a_time(monkeypatch, dtype, shape, piece_bytes):
    monkeypatch.setattr(workers_module, "PIECE_BYTES", piece_bytes)
    rows = np.arange(11 * int(np.prod(shape))).reshape(11, *shape).astype(dtype)
    workers = make_workers(3, Exchange(3))
    for gathered in in_threads(workers, lambda worker: worker.all_gather(rows[worker.shard(11)], 11)):
        np.testing.assert_array_equal(gathered, rows)
        assert gathered.dtype == rows.dtype


def test_fewer_rows_than_workers_are_gathered():
    workers = make_workers(3, Exchange(3))
    for gathered in in_threads(workers, lambda worker: worker.all_gather(7.0 * np.ones(len(worker.shard(1))), 1)):
        assert gathered == [7.0]


def test_many_objects_do_not_look_like_one_function_that_is_traced_again_and_again(caplog):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())
    tf.get_logger().addHandler(caplog.handler)
    for _ in range(8):
        np.testing.assert_array_equal(Workers(strategy).exchange(np.arange(5.0)), np.arange(5.0))
    tf.get_logger().removeHandler(caplog.handler)
    assert "retracing" not in caplog.text


def test_all_workers_get_the_chiefs_values():
    own = [np.array([0.5, index]) for index in range(3)]
    for values in in_threads(make_workers(3, Exchange(3)), lambda worker: worker.broadcast(own[worker.index])):
        np.testing.assert_array_equal(values, own[0])


def test_what_travels_at_a_time_is_bounded(monkeypatch):
    monkeypatch.setattr(workers_module, "PIECE_BYTES", 64)
    exchange = Exchange(2)
    in_threads(make_workers(2, exchange), lambda worker: worker.all_gather(np.ones((20, 4), np.float32), 40))
    assert exchange.calls == 5  # 4 rows of 16 bytes at a time of a worker's 20


def test_file_is_completed_in_place(tmp_path):
    rows = np.arange(10.0).reshape(5, 2)

    def fill(worker):
        out = np.lib.format.open_memmap(tmp_path / f"{worker.index}.npy", "w+", rows.dtype, rows.shape)
        own = worker.shard(5)
        out[own] = rows[own]
        worker.all_gather_into(out)

    in_threads(make_workers(2, Exchange(2)), fill)
    for index in range(2):
        np.testing.assert_array_equal(np.load(tmp_path / f"{index}.npy"), rows)


def test_rows_of_another_length_than_the_share_are_refused():
    with pytest.raises(ValueError, match=r"one row for each of the 2 positions that worker 0 of 2 .* \(3, 4\)"):
        make_workers(2)[0].all_gather(np.ones((3, 4)), 5)


def test_lost_worker_is_explained_with_the_way_out():
    error = tf.errors.UnavailableError(None, None, "connection reset")
    with (
        pytest.raises(WorkerLostError, match="Worker 1 of 2 .* resume the run.* TensorFlow says: connection reset"),
        make_workers(2)[1].explain_loss(),
    ):
        raise error


def test_same_error_in_a_single_process_is_left_as_it_is():
    with pytest.raises(tf.errors.UnavailableError), Workers(tf.distribute.get_strategy()).explain_loss():
        raise tf.errors.UnavailableError(None, None, "no device")
