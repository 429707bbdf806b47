"""One loaded artefact behind a pipe, the other end of `Runtime`.

    python -m export.fidelity.runtime_process KIND PATH THREADS

Nothing is imported but what the artefact needs. So it is shown to run without keras_sare, and the memory of the process
is the artefact's.

Requests and answers are a line of JSON each, which tells the `shape` of the float32 array that follows, if one does.
The end of the requests ends the process.
"""

import importlib
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

Shape = tuple[int | None, ...]
ExtractFiles = Callable[[list[bytes]], np.ndarray]
Loaded = tuple[Callable[[np.ndarray], np.ndarray], Shape, ExtractFiles | None]
"""What extracts the descriptors of a batch [b, height, width, 3], the shape that it takes, None for any number, and
what extracts those of image files by their bytes, where the artefact reads files."""

Message = dict[str, Any]


def load_tflite(path: str, threads: int) -> Loaded:
    """Loads a TFLite file into LiteRT, with XNNPACK."""
    interpreter = _import("ai_edge_litert.interpreter", "export").Interpreter(model_path=path, num_threads=threads)
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
    planned: tuple[int, ...] = ()

    def extract(images: np.ndarray) -> np.ndarray:
        nonlocal planned
        if images.shape != planned:  # Planning its memory takes longer than describing a small image.
            planned = ()
            interpreter.resize_tensor_input(source["index"], images.shape, strict=True)
            interpreter.allocate_tensors()
            planned = images.shape
        interpreter.set_tensor(source["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(sink)

    return extract, tuple(None if side < 0 else int(side) for side in source["shape_signature"]), None


def load_onnx(path: str, threads: int) -> Loaded:
    """Loads an ONNX file into ONNX Runtime."""
    onnxruntime = _import("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    [source] = session.get_inputs()
    shape = tuple(side if isinstance(side, int) else None for side in source.shape)
    return lambda images: session.run(None, {source.name: images})[0], shape, None


def load_saved_model(path: str, threads: int) -> Loaded:
    """Loads a SavedModel and takes its signature `images`, and `serving_default` for files."""
    tensorflow = _tensorflow(threads)
    model = tensorflow.saved_model.load(path)
    if "images" not in model.signatures:
        received = sorted(model.signatures)
        raise ValueError(f"a SavedModel must have the signature 'images'. Received: signatures={received}")
    [source] = model.signatures["images"].structured_input_signature[1].values()

    def extract(images: np.ndarray) -> np.ndarray:  # Holds the model: its signatures do not hold its variables.
        return model.signatures["images"](images=tensorflow.constant(images))["embedding"].numpy()

    def extract_files(files: list[bytes]) -> np.ndarray:
        signature = model.signatures["serving_default"]
        return signature(image_bytes=tensorflow.constant(files, tensorflow.string))["embedding"].numpy()

    return extract, tuple(source.shape), extract_files


def load_keras(path: str, threads: int) -> Loaded:
    """Loads a `.keras` file, for which keras_sare's layers are needed."""
    tensorflow = _tensorflow(threads)
    _import("keras_sare.models", "cpu")  # Its layers make themselves known to Keras.
    model = _import("keras", "cpu").saving.load_model(path, compile=False)
    extract = tensorflow.function(lambda images: model(images, training=False), reduce_retracing=True)
    return lambda images: extract(tensorflow.constant(images)).numpy(), tuple(model.input.shape), None


LOADERS = {"keras": load_keras, "saved_model": load_saved_model, "tflite": load_tflite, "onnx": load_onnx}


class Session:
    """Answers requests about one artefact.

    Args:
        extract: of a loader.
        shape: of a loader.
        extract_files: of a loader, where the artefact reads files.
    """

    def __init__(
        self,
        extract: Callable[[np.ndarray], np.ndarray],
        shape: Shape,
        extract_files: ExtractFiles | None = None,
    ) -> None:
        self._extract_batch, self._shape, self._extract_files = extract, shape, extract_files
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


def _tensorflow(threads: int) -> Any:
    tensorflow = _import("tensorflow", "cpu")
    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    return tensorflow


def _import(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        install = f'pip install "keras-sare[{extra}]"'
        raise ImportError(f"{module} cannot be imported ({error}). Install it: {install}") from error


def _failure(error: Exception) -> Message:
    return {"error": str(error) or type(error).__name__, "type": type(error).__name__}


def main(kind: str, path: str, threads: int) -> None:
    """Loads an artefact, says so or why not, and answers requests until they end."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Libraries print to the standard output, which was the pipe.
    try:
        session = Session(*LOADERS[kind](path, threads))
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
