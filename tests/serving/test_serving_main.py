"""`python -m serving` as a process of its own."""

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from keras_sare.utils.error_text import expected_errors
from serving.client import EmbeddingClient
from serving.models.manager import ModelManager

LONGEST = 200
"""Seconds that a server may run."""


@contextmanager
def running(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "serving", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        # Ends a test that waits for a line that never comes.
        watchdog = threading.Timer(LONGEST, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


CONFIG = 'model_config_list {{ config {{ name: "places" base_path: "{}" model_platform: "tensorflow" }} }}'


def test_the_process_serves_what_is_there_and_what_comes_until_sigterm_and_then_exits_with_0(
    model_folder: Path, files: list[Path], embeddings: np.ndarray, tmp_path: Path
) -> None:
    log = tmp_path / "access.jsonl"
    config = tmp_path / "models.config"
    config.write_text(CONFIG.format(shutil.copytree(model_folder, tmp_path / "places")))
    arguments = ["--models_config", str(config), "--poll_seconds", "0.1", "--port", "0", "--rest_port", "0"]
    with running(*arguments, "--access_log", str(log)) as process:
        rest = started(process, r"serving REST at (\S+)$")[1]
        ready = started(process, r"serving (\S+) version (\d+) at (\S+)$")
        # The one that waits for them: another would never tell.
        assert [takers(process.pid, number) for number in (signal.SIGTERM, signal.SIGINT)] == [1, 1]
        assert ready.group(1, 2) == ("places", "7")
        shutil.copytree(model_folder / "7", tmp_path / "places" / "8")
        started(process, "unloading version 7 of places")
        with EmbeddingClient(ready[3], "places") as client:
            np.testing.assert_allclose(client.embed_files(files), embeddings, atol=1e-6)
        assert httpx.get(f"{rest}/v1/models/places", timeout=20).status_code == 200
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0
    assert output == ""
    assert errors.rstrip().endswith("stopped")
    called, asked = [json.loads(line) for line in log.read_text().splitlines()]
    assert (called["images"], called["version"]) == (5, 8)
    assert (asked["method"], asked["model"]) == ("REST/status", "places")


def takers(pid: int, number: int) -> int:
    """Threads of a process that the system may give a signal to; one that waits for it counts. Linux tells."""
    statuses = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    masks = [int(re.search(r"SigBlk:\s*(\w+)", status)[1], 16) for status in statuses]
    return sum(not mask >> (number - 1) & 1 for mask in masks)


def started(process: "subprocess.Popen[str]", waiting_for: str) -> "re.Match[str]":
    lines = iter(process.stderr.readline, "")
    return next(filter(None, (re.search(waiting_for, line) for line in lines)))


@pytest.mark.parametrize(("grace", "signals"), [(0.1, 1), (3600, 2)])
def test_a_worker_that_is_stuck_does_not_keep_the_process(waiting_folder: Path, grace: float, signals: int) -> None:
    with running("--model", str(waiting_folder), "--port", "0", "--grace", str(grace)) as process:
        address = started(process, r"serving keras_sare version 1 at (\S+)$")[1]
        with grpc.insecure_channel(address) as channel:
            predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
            request = predict_pb2.PredictRequest(model_spec={"name": "keras_sare", "signature_name": "stuck"})
            request.inputs["steps"].CopyFrom(tf.make_tensor_proto(np.int64(1)))
            call = predict.future(request, timeout=60)
            started(process, "computing")
            process.send_signal(signal.SIGTERM)
            started(process, "stopping: new requests are refused")
            if signals == 2:
                process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
            assert call.exception(timeout=30).code().name in ("CANCELLED", "UNAVAILABLE")
    assert process.returncode == 3


def test_a_model_that_cannot_be_served_is_told_in_one_line(model_folder: Path, tmp_path: Path) -> None:
    """What the program does before it listens; that it ends so with a wrong folder is in tests/test_programs.py."""
    shutil.copytree(model_folder, tmp_path / "cut")
    (tmp_path / "cut" / "7" / "variables" / "variables.data-00000-of-00001").write_bytes(b"")
    with pytest.raises(SystemExit) as ended, expected_errors("serving"):
        ModelManager.from_folder("keras_sare", tmp_path / "cut")
    assert isinstance(ended.value.code, str)
    assert ended.value.code.startswith("serving: `folder` must hold a SavedModel that TensorFlow can load")
    assert "\n" not in ended.value.code
