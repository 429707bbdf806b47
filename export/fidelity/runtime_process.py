"""One loaded artefact behind a pipe, the other end of `Runtime`.

    python -m export.fidelity.runtime_process KIND PATH THREADS

Nothing is imported but what the artefact needs. So it is shown to run without keras_sare, and the memory of the process
is the artefact's.

Requests and answers are a line of JSON each, which tells the `shape` of the float32 array that follows, if one does.
The end of the requests ends the process.
"""

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from export.formats import FORMATS
from export.formats.format import ExtractFiles, Shape

Message = dict[str, Any]


class Session:
    """Answers requests about one artefact.

    Args:
        extract: of a format's `load`.
        shape: of the same.
        extract_files: of the same, where the artefact reads files.
    """

    def __init__(
        self,
        extract: Callable[[np.ndarray], np.ndarray],
        shape: Shape,
        extract_files: ExtractFiles | None = None,
    ) -> None:
        self._extract_batch = extract
        self._shape = shape
        self._extract_files = extract_files
        self.takes_batches = shape[0] is None

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Descriptors of images [b, height, width, 3], one by one where the artefact takes a fixed number."""
        batches = [images] if self.takes_batches else [images[i : i + 1] for i in range(len(images))]
        for batch in batches:
            if any(own not in (None, side) for own, side in zip(self._shape, batch.shape, strict=True)):
                takes = ", ".join("any" if side is None else str(side) for side in self._shape)
                raise ValueError(f"`images` must have the shape [{takes}]. Received: shape={list(batch.shape)}")
        return np.concatenate([self._extract_batch(batch) for batch in batches])

    def extract_files(self, paths: list[str]) -> np.ndarray:
        """Descriptors of image files by their bytes, all at once."""
        if self._extract_files is None:
            raise ValueError("files are read by a SavedModel alone. Received: an artefact that takes pixels")
        return self._extract_files([Path(path).read_bytes() for path in paths])

    def latency(self, images: np.ndarray, repeats: int) -> float:
        """Seconds to extract descriptors: median of `repeats` calls after one to warm up."""
        seconds = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            self.extract(images)
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds[1:])

    def answer(self, request: Message, images: np.ndarray | None) -> tuple[Message, np.ndarray | None]:
        """Carries out one request."""
        match request["command"], images:
            case "extract", np.ndarray():
                return {}, self.extract(images)
            case "extract_files", None:
                return {}, self.extract_files(request["paths"])
            case "latency", np.ndarray():
                return {"latency": self.latency(images, request["repeats"])}, None
            case "peak_memory", None:
                return {"peak_memory": peak_memory()}, None
            case "modules", None:
                return {"modules": sorted({"keras", "keras_sare", "tensorflow"} & set(sys.modules))}, None
            case command, _:
                raise ValueError(f"unknown request. Received: {command!r}")


def peak_memory() -> int:
    """Most bytes of memory that this process has held so far."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return 1024 * int(line.split()[1])
    import resource  # Windows has none.

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # Bytes on macOS, the system without /proc.


def send(pipe: BinaryIO, message: Message, array: np.ndarray | None = None) -> None:
    """Writes a message, and an array behind it."""
    shape = None if array is None else array.shape
    pipe.write(json.dumps({**message, "shape": shape}).encode() + b"\n")
    if array is not None:
        pipe.write(np.ascontiguousarray(array, np.float32).data)
    pipe.flush()


def receive(pipe: BinaryIO) -> tuple[Message, np.ndarray | None] | None:
    """Reads what `send` wrote; None where the other end is gone."""
    line = pipe.readline()
    if not line.endswith(b"\n"):
        return None
    message = json.loads(line)
    if (shape := message.pop("shape")) is None:
        return message, None
    contents = pipe.read(4 * math.prod(shape))
    whole = len(contents) == 4 * math.prod(shape)
    return (message, np.frombuffer(contents, np.float32).reshape(shape)) if whole else None


def _failure(error: Exception) -> Message:
    return {"error": str(error) or type(error).__name__, "type": type(error).__name__}


def main(kind: str, path: str, threads: int) -> None:
    """Loads an artefact, says so or why not, and answers requests until they end."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Libraries print to the standard output, which was the pipe.
    try:
        session = Session(*FORMATS[kind].load(path, threads))
    except ImportError as error:
        send(answers, _failure(error))
    except Exception as error:
        send(answers, {"error": f"it cannot be loaded: {error}", "type": "RuntimeError"})
    else:
        send(answers, {"takes_batches": session.takes_batches})
        while received := receive(sys.stdin.buffer):
            try:
                send(answers, *session.answer(*received))
            except Exception as error:
                send(answers, _failure(error))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
