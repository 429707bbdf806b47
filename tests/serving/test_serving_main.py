"""`python -m serving` as a process of its own."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from serving.client import EmbeddingClient


@contextmanager
def running(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "serving", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_process_serves_until_sigterm_and_then_exits_with_0(
    model_folder: Path, files: list[Path], embeddings: np.ndarray
) -> None:
    with running("--model", str(model_folder), "--name", "places", "--port", "0") as process:
        lines = iter(process.stderr.readline, "")
        ready = next(filter(None, (re.search(r"serving (\S+) version (\d+) at (\S+)$", line) for line in lines)))
        assert ready.group(1, 2) == ("places", "7")
        with EmbeddingClient(ready[3], "places") as client:
            np.testing.assert_allclose(client.embed_files(files), embeddings, atol=1e-6)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert output == ""
    assert errors.rstrip().endswith("stopped")


def test_a_missing_model_folder_ends_the_process_with_1_and_a_clear_error(tmp_path: Path) -> None:
    with running("--model", str(tmp_path / "nowhere")) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.rstrip().splitlines()[-1].startswith("serving: `folder` must be an existing folder")
    assert "Traceback" not in errors
