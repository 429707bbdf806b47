"""Runs an artefact in a process of its own, which imports no more than it needs."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from export.fidelity.runtime_process import Message, receive, send
from export.formats import FORMATS
from keras_sare.utils.choices import check_choice

_ERRORS: dict[str, type[Exception]] = {"ImportError": ImportError, "ValueError": ValueError}
_TAIL_BYTES = 2000


class Runtime:
    """A process that has loaded one artefact and extracts descriptors with it, on the CPU.

    As on the device that the artefact is for, neither keras_sare nor the library that made it is there (but for kind
    "keras"); and what the process takes of memory is the artefact's own.

        with Runtime("tflite", Path("exports/tflite/float16.tflite")) as runtime:
            descriptors = runtime.extract(images)

    Args:
        kind: name of a format, one of `export.formats.FORMATS`.
        path: the artefact: a file, or the version folder of a SavedModel.
        threads: that it computes with.

    Attributes:
        takes_batches: whether it takes any number of images at once; `extract` hands them over one by one otherwise.
        process: the process.

    Raises:
        ValueError: there is no such kind, or `threads` is not positive.
        FileNotFoundError: there is no such artefact.
        ImportError: what runs it is not installed; the message has the line to install it with.
        RuntimeError: it cannot be loaded, or the process died.
    """

    def __init__(self, kind: str, path: Path, threads: int = 2) -> None:
        check_choice("kind", kind, FORMATS)
        if threads < 1:
            raise ValueError(f"`threads` must be at least 1. Received: threads={threads}")
        if not path.exists():
            raise FileNotFoundError(f"`path` must be an artefact that was exported. Received: path={str(path)!r}")
        self._name = f"{kind} {str(path)!r}"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "export.fidelity.runtime_process", kind, str(path.absolute()), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=Path(__file__).parents[2],  # Where the module is found, installed or not.
            # On the CPU, all of them alike; besides, this process may hold all memory of a GPU.
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"},
        )
        self._requests: Any = self.process.stdin
        self._answers: Any = self.process.stdout
        try:
            self.takes_batches: bool = self._answer()[0]["takes_batches"]
        except BaseException:
            self.close()
            raise

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Extracts the descriptors of images.

        Args:
            images: float32 [b, height, width, 3], RGB in 0..255, of any number and size that the artefact takes.

        Returns:
            float32 [b, dim].

        Raises:
            ValueError: the artefact does not take this shape.
            RuntimeError: the extraction failed, or the process died.
        """
        return self._checked(self._ask({"command": "extract"}, images)[1], len(images))

    def extract_files(self, paths: Sequence[str]) -> np.ndarray:
        """Extracts the descriptors of image files as a server does, from their bytes.

        They are one request to a SavedModel's signature `serving_default`.

        Args:
            paths: [b] files.

        Returns:
            float32 [b, dim].

        Raises:
            ValueError: the artefact is no SavedModel, which alone reads files.
            RuntimeError: the extraction failed, for example because a file cannot be read, or the process died.
        """
        request = {"command": "extract_files", "paths": [os.path.abspath(path) for path in paths]}
        return self._checked(self._ask(request)[1], len(paths))

    def latency(self, images: np.ndarray, repeats: int = 5) -> float:
        """Measures how long it takes to extract descriptors, without the way to the process and back.

        Args:
            images: as for `extract`.
            repeats: calls, after one to warm up.

        Returns:
            Seconds, the median of the calls.

        Raises:
            ValueError: the artefact does not take this shape, or `repeats` is not positive.
            RuntimeError: the extraction failed, or the process died.
        """
        if repeats < 1:
            raise ValueError(f"`repeats` must be at least 1. Received: repeats={repeats}")
        return self._ask({"command": "latency", "repeats": repeats}, images)[0]["latency"]

    def peak_memory(self) -> int:
        """Most bytes of memory that the whole process has held so far.

        Raises:
            RuntimeError: the process died.
        """
        return self._ask({"command": "peak_memory"})[0]["peak_memory"]

    def modules(self) -> list[str]:
        """Which of keras, keras_sare and tensorflow the process has imported.

        Raises:
            RuntimeError: the process died.
        """
        return self._ask({"command": "modules"})[0]["modules"]

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()  # It holds nothing that is worth an orderly end, which takes TensorFlow seconds.
        self.process.wait()
        for pipe in (self._requests, self._answers):
            with contextlib.suppress(OSError):  # What was not read cannot be written any more.
                pipe.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _checked(self, descriptors: np.ndarray | None, count: int) -> np.ndarray:
        shape = () if descriptors is None else descriptors.shape
        if descriptors is None or len(shape) != 2 or len(descriptors) != count:
            raise RuntimeError(f"{self._name} must give [{count}, dim] for its images. Received: shape={shape}")
        return descriptors

    def _ask(self, request: Message, images: np.ndarray | None = None) -> tuple[Message, np.ndarray | None]:
        if images is not None and (images.ndim != 4 or images.shape[-1] != 3 or not math.prod(images.shape)):
            raise ValueError(
                f"`images` must be RGB images [b, height, width, 3], at least one. Received: shape={images.shape}"
            )
        try:
            send(self._requests, request, images)
        except OSError as error:
            raise self._death() from error
        return self._answer()

    def _answer(self) -> tuple[Message, np.ndarray | None]:
        received = receive(self._answers)
        if received is None:
            raise self._death()
        if "error" in (message := received[0]):
            raise _ERRORS.get(message["type"], RuntimeError)(f"{self._name}: {message['error']}")
        return received

    def _death(self) -> RuntimeError:
        """What is to be said of a process that ended by itself."""
        code = self.process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if code == -getattr(signal, "SIGKILL", 9):
            how += (
                ", most likely because memory ran out: measure with smaller images or batches, or on a larger machine"
            )
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - _TAIL_BYTES))
        last = self._log.read().decode(errors="replace").strip()
        return RuntimeError(f"The process of {self._name} {how}." + (f" Its last messages:\n{last}" if last else ""))
