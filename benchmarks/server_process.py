"""A server as a process of its own, for the benchmarks that attack, load and kill it."""

import io
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from serving.client import EmbeddingClient

MEBIBYTE = 2**20


def write_tiny_model(folder: Path, seed: int = 0) -> None:
    """Exports a model that costs nearly nothing, as a version.

    Args:
        folder: of the version, as in `MODEL/1`.
        seed: of its weights: two versions can be told apart by what they answer.
    """
    # Here, because the clients of the benchmarks are processes that need none of it.
    import keras

    from export.converters.saved_model import SavedModelOptions, write_saved_model
    from export.source import Source
    from keras_sare.layers import MAC

    inputs = keras.Input((None, None, 3), name="images")
    weights = keras.initializers.RandomUniform(0.1, 1.0, seed)
    model = keras.Model(inputs, MAC()(keras.layers.Conv2D(4, 1, strides=16, kernel_initializer=weights)(inputs)))
    write_saved_model(Source(model, (240, 320), "tiny", "a benchmark"), folder, SavedModelOptions(warmup=False))


def photo(seed: int = 0, size: tuple[int, int] = (640, 480)) -> bytes:
    """A JPEG that is neither flat nor noise; size as width and height."""
    small = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class ServerProcess:
    """`python -m serving` of one model.

    Args:
        folder: with the versions.
        flags: further flags.
    """

    def __init__(self, folder: Path, *flags: str) -> None:
        self.port = free_port()
        self.rest_port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", "serving", f"--model={folder}", f"--port={self.port}"]
        self._command += [f"--rest_port={self.rest_port}", *flags]
        self.start()

    def start(self) -> None:
        """Starts it and waits until it answers."""
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        with EmbeddingClient(self.address) as client:
            client.wait_until_ready(120)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def resident(self) -> float:
        """Mebibytes of memory that it has at this moment."""
        return self._status("VmRSS")

    def forget_peak(self) -> None:
        """Measures the peak from now on."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def peak(self) -> float:
        """Mebibytes that it had at most."""
        return self._status("VmHWM")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal, and waits for the end. Returns the exit status."""
        self._process.send_signal(number)
        return self._process.wait()

    def _status(self, name: str) -> float:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        kilobytes = next(line.split()[1] for line in lines if line.startswith(f"{name}:"))
        return int(kilobytes) * 1024 / MEBIBYTE
