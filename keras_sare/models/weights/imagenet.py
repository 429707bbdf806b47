"""ImageNet weights of the backbones: an ordered list of sources, fetched once per user."""

import logging
import os
from pathlib import Path

from keras_sare.models.backbones import BACKBONES
from keras_sare.models.backbones.shared.sources import WeightSource
from keras_sare.models.importers.read import backbone_weights, is_foreign
from keras_sare.models.weights.weight_files import BackboneWeights, digest, read_weights
from keras_sare.models.weights.weight_pins import check_pin
from keras_sare.utils.digests import path_digest
from keras_sare.utils.files import atomic_path

logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Folder for fetched weights: `KERAS_SARE_CACHE`, or `keras_sare` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("KERAS_SARE_CACHE") or Path(base) / "keras_sare")


def imagenet_weights(backbone: str) -> BackboneWeights:
    """Returns ImageNet weights of `backbone` from the first source that has them, cached once per user.

    Copies that are cached already are preferred, in the order of the sources, so that nothing is fetched twice. DINOv2,
    which was trained without labels, gets its authors' weights through keras-hub and the cache of that.

    Every use compares the SHA-256 of the weights with the known one or, where their publisher gives only an MD5, with
    that of their first use, which is kept beside them.

    Raises:
        ValueError: cached weights were damaged or exchanged.
        RuntimeError: every source failed; the message lists each with its reason, and how to pass a file.
    """
    parts = BACKBONES[backbone]
    folder = cache_folder()
    if parts.pretrained is not None:
        layers = parts.pretrained()
        check_pin(digest(array for arrays in layers.values() for array in arrays), folder / f"{backbone}.sha256")
        return BackboneWeights(layers, parts.preprocessing, "keras-hub")
    for source in parts.sources:
        if (folder / source.file_name).is_file():
            check_pin(path_digest(folder / source.file_name), _pin(folder, source), source.sha256)
            return _read(folder, source, backbone)
    failures = []
    for source in parts.sources:
        logger.info("ImageNet weights of %s: fetching from %s", backbone, source.name)
        try:
            _fetch(folder, source)
            return _read(folder, source, backbone)
        except Exception as error:  # whatever stops one source, the next is tried and the reason is kept
            failures.append(f"  {source.name}: {type(error).__name__}: {str(error).strip().splitlines()[-1]}")
            logger.info("ImageNet weights of %s: %s", backbone, failures[-1].strip())
    tried = "could be reached. Tried:\n" + "\n".join(failures) if failures else "is known."
    raise RuntimeError(
        f"No source of ImageNet weights for {backbone!r} {tried}\nPass a file instead: {parts.file}, "
        "or any file described at `keras_sare.models.build`."
    )


def _fetch(folder: Path, source: WeightSource) -> None:
    with atomic_path(folder / source.file_name) as path:
        source.fetch(path, source.digest)
        if source.is_pinned:  # What an earlier version of this package made of the download may differ.
            _pin(folder, source).unlink(missing_ok=True)
        check_pin(path_digest(path), _pin(folder, source), source.sha256)


def _read(folder: Path, source: WeightSource, backbone: str) -> BackboneWeights:
    path = folder / source.file_name
    if is_foreign(path):
        return BackboneWeights(backbone_weights(path).layers, source.preprocessing, str(path))
    return read_weights(path, backbone, source.preprocessing)


def _pin(folder: Path, source: WeightSource) -> Path:
    return folder / f"{source.file_name}.sha256"
