"""ImageNet weights of the backbones: an ordered list of sources, fetched once per user."""

import logging
import os
from pathlib import Path

from keras_sare.models.backbones.dinov2 import dinov2_weights
from keras_sare.models.weights.weight_files import BackboneWeights, digest
from keras_sare.models.weights.weight_pins import check_pin
from keras_sare.models.weights.weight_sources import SOURCES, WeightSource, how_to_pass_a_file
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
    folder = cache_folder()
    if backbone == "dinov2":
        layers = dinov2_weights()
        check_pin(digest(array for arrays in layers.values() for array in arrays), folder / "dinov2.sha256")
        return BackboneWeights(layers, "torch", "keras-hub")
    for source in SOURCES[backbone]:
        if (folder / source.file_name).is_file():
            check_pin(path_digest(folder / source.file_name), _pin(folder, source), source.sha256)
            return source.read(folder / source.file_name, backbone, source.preprocessing)
    failures = []
    for source in SOURCES[backbone]:
        logger.info("ImageNet weights of %s: fetching from %s", backbone, source.name)
        try:
            with atomic_path(folder / source.file_name) as path:
                source.fetch(path, source.digest)
                if source.is_pinned:  # What an earlier version of this package made of the download may differ.
                    _pin(folder, source).unlink(missing_ok=True)
                check_pin(path_digest(path), _pin(folder, source), source.sha256)
            return source.read(folder / source.file_name, backbone, source.preprocessing)
        except Exception as error:  # whatever stops one source, the next is tried and the reason is kept
            failures.append(f"  {source.name}: {type(error).__name__}: {str(error).strip().splitlines()[-1]}")
            logger.info("ImageNet weights of %s: %s", backbone, failures[-1].strip())
    tried = "could be reached. Tried:\n" + "\n".join(failures) if failures else "is known."
    raise RuntimeError(
        f"No source of ImageNet weights for {backbone!r} {tried}\nPass a file instead: {how_to_pass_a_file(backbone)}, "
        "or any file described at `keras_sare.models.build`."
    )


def _pin(folder: Path, source: WeightSource) -> Path:
    return folder / f"{source.file_name}.sha256"
