"""Killed at any moment and resumed, a run ends as the unbroken one does."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).with_name("killed_program.py")


def start_server(log, epochs):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, PROGRAM, str(epochs)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True, env=environment)


class Runs:
    """Trains in processes of their own, and kills them."""

    def __init__(self, server, log, seed):
        self.server = server
        self.log = log
        self.random = random.Random(seed)

    def start(self, folder):
        self.server.stdin.write(f"{folder}\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def end(self):
        return int(self.server.stdout.readline())

    def train(self, folder):
        """Trains to the end."""
        self.start(folder)
        assert self.end() == 0, self.log.read_text()[-3000:]

    def kill(self, folder, while_writing):
        """Starts or resumes the run and kills it at a random moment; returns whether a checkpoint was half-written.

        The moment is counted in checkpoints, so that it is anywhere in the run on any machine: a few of them later and
        a little more, or while one is being written.
        """
        process = self.start(folder)
        checkpoints = folder / "checkpoints"
        before = names(checkpoints)
        waited = self.random.randint(0, 2)
        deadline = time.monotonic() + 100
        while len(names(checkpoints) - before) < waited or (while_writing and not partials(checkpoints)):
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.001)
        time.sleep(self.random.uniform(0, 0.003 if while_writing else 0.05))
        os.kill(process, signal.SIGKILL)
        assert self.end() == signal.SIGKILL
        return bool(partials(checkpoints))


def names(folder):
    return set(os.listdir(folder)) if folder.is_dir() else set()


def partials(folder):
    return {name for name in names(folder) if name.startswith(".")}


@pytest.mark.parametrize(("kills", "epochs"), [(2, 2), pytest.param(20, 8, marks=pytest.mark.slow)])
def test_run_killed_at_random_moments_ends_as_the_unbroken_one(tmp_path, kills, epochs):
    with open(tmp_path / "log", "w") as log, start_server(log, epochs) as server:
        runs = Runs(server, tmp_path / "log", seed=4)
        runs.train(tmp_path / "unbroken")
        half_written = sum(runs.kill(tmp_path / "killed", while_writing=i % 2 == 0) for i in range(kills))
        assert not (tmp_path / "killed" / "history.json").exists()
        runs.train(tmp_path / "killed")

    assert half_written > 0
    assert not partials(tmp_path / "killed" / "checkpoints")
    results = [tmp_path / name for name in ("unbroken", "killed")]
    assert len({(result / "history.json").read_text() for result in results}) == 1
    unbroken, killed = (np.load(result / "weights.npz") for result in results)
    assert len(unbroken.files) == len(killed.files) == 6
    for name in unbroken.files:
        np.testing.assert_array_equal(unbroken[name], killed[name])
