"""Two worker processes on this machine train as one does, share the work, and survive the loss of one."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

PROGRAM = Path(__file__).with_name("worker_program.py")
SFM_PROGRAM = PROGRAM.with_name("sfm_worker_program.py")


def load_program(path=PROGRAM):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def started(folder, kill_at, program=PROGRAM):
    """Starts a process for each worker; none is left at the end of the block."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(len(kill_at))]}
    processes = []
    for index, step in enumerate(kill_at):
        config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        command = [sys.executable, str(program), str(folder), *([] if step is None else [str(step)])]
        environment = os.environ | {"TF_CONFIG": json.dumps(config), "TF_CPP_MIN_LOG_LEVEL": "3"}
        with open(folder / f"output-{index}.txt", "w") as output:
            processes.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run_workers(folder, kill_at=(None, None), program=PROGRAM):
    """Runs one process for each worker to its end.

    Returns:
        Exit codes, and what the processes wrote.
    """
    folder.mkdir(exist_ok=True)
    with started(folder, kill_at, program) as processes:
        codes = [process.wait(timeout=300) for process in processes]
    return codes, [(folder / f"output-{index}.txt").read_text() for index in range(len(codes))]


def results(folder):
    return [dict(np.load(folder / f"result-{index}.npz")) for index in range(2)]


def weights(result):
    return np.concatenate([np.ravel(value) for name, value in result.items() if name.startswith("weight_")])


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """What two workers come to that nothing stops."""
    folder = tmp_path_factory.mktemp("unbroken")
    codes, outputs = run_workers(folder)
    assert codes == [0, 0], outputs
    return folder


def test_two_workers_train_like_one_and_share_the_work(unbroken, tmp_path, without_picture):
    program = load_program()
    one = program.train(tmp_path, tf.distribute.get_strategy())
    chief, other = results(unbroken)
    np.testing.assert_array_equal(weights(chief), weights(other))
    difference = np.linalg.norm(weights(chief) - weights(one)) / np.linalg.norm(weights(one))
    assert difference < 1e-6
    np.testing.assert_allclose(chief["losses"], one["losses"], rtol=1e-5)
    np.testing.assert_array_equal(chief["recalls"], one["recalls"])
    assert chief["best_epoch"] == other["best_epoch"] == one["best_epoch"] > 0  # else nothing trained is compared
    for work in ("mined", "described", "described_validation"):
        assert chief[work] + other[work] == one[work]
        assert abs(chief[work] - other[work]) <= one[work] / 10
    assert chief["steps"] == other["steps"] == one["steps"] == program.STEPS


def test_only_the_chief_writes_logs(unbroken):
    assert len(list((unbroken / "run").rglob("events*"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1], ids=["chief", "other"])
def test_worker_killed_in_mid_epoch_stops_the_other_and_both_go_on_from_the_checkpoint(unbroken, tmp_path, victim):
    folder = tmp_path / "broken"
    codes, outputs = run_workers(folder, kill_at=[8 if index == victim else None for index in range(2)])
    survivor = 1 - victim
    assert codes[victim] == -signal.SIGKILL
    assert codes[survivor] == 1
    assert f"WorkerLostError: Worker {survivor} of 2 cannot go on" in outputs[survivor]
    assert "Start all workers again and resume the run" in outputs[survivor]
    codes, outputs = run_workers(folder)
    assert codes == [0, 0], outputs
    for resumed, expected in zip(results(folder), results(unbroken), strict=True):
        assert resumed["steps"] < expected["steps"]
        for name in expected:
            if name.startswith("weight_") or name in ("losses", "recalls", "best_epoch"):
                np.testing.assert_array_equal(resumed[name], expected[name])


@pytest.mark.slow
def test_frozen_worker_is_given_up(tmp_path):
    """A machine that is gone without a word, as one that lost its power is, closes no connection."""
    folder = tmp_path / "frozen"
    folder.mkdir()
    with started(folder, kill_at=(None, None)) as processes:
        while not list((folder / "run").rglob("*.npz")):  # until a checkpoint shows that they train
            assert processes[0].poll() is None, (folder / "output-0.txt").read_text()
        processes[1].send_signal(signal.SIGSTOP)
        assert processes[0].wait(timeout=60) == 1
    assert "WorkerLostError: Worker 0 of 2 cannot go on" in (folder / "output-0.txt").read_text()


@pytest.mark.slow
def test_two_workers_train_on_photos_of_unlike_shapes_like_one(tmp_path):
    program = load_program(SFM_PROGRAM)
    for name in ("one", "two"):
        program.make_photos(tmp_path / name)
    one = program.train(tmp_path / "one", tf.distribute.get_strategy())
    codes, outputs = run_workers(tmp_path / "two", program=SFM_PROGRAM)
    assert codes == [0, 0], outputs
    chief, other = results(tmp_path / "two")
    np.testing.assert_array_equal(weights(chief), weights(other))
    assert one["stored"]
    assert chief["stored"]
    assert min(one["moved"]) > 1e-3
    assert np.linalg.norm(weights(chief) - weights(one)) < 1e-4 * min(one["moved"])
    np.testing.assert_allclose(chief["losses"], one["losses"], rtol=1e-5)
    for worker in (chief, other):
        np.testing.assert_allclose(worker["mean_average_precisions"], one["mean_average_precisions"], rtol=1e-12)
