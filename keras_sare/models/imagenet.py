"""ImageNet weights of the backbones: an ordered list of sources, fetched once per user."""

import logging
import os
from pathlib import Path

from keras_sare.models.dinov2 import dinov2_weights
from keras_sare.models.weight_files import BackboneWeights
from keras_sare.models.weight_sources import SOURCES, how_to_pass_a_file
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

    Raises:
        RuntimeError: every source failed; the message lists each with its reason, and how to pass a file.
    """
    if backbone == "dinov2":
        return BackboneWeights(dinov2_weights(), "torch", "keras-hub")
    folder = cache_folder()
    for source in SOURCES[backbone]:
        if (folder / source.file_name).is_file():
            return source.read(folder / source.file_name, backbone, source.preprocessing)
    failures = []
    for source in SOURCES[backbone]:
        logger.info("ImageNet weights of %s: fetching from %s", backbone, source.name)
        try:
            with atomic_path(folder / source.file_name) as path:
                source.fetch(path, source.digest)
            return source.read(folder / source.file_name, backbone, source.preprocessing)
        except Exception as error:  # whatever stops one source, the next is tried and the reason is kept
            failures.append(f"  {source.name}: {type(error).__name__}: {str(error).strip().splitlines()[-1]}")
            logger.info("ImageNet weights of %s: %s", backbone, failures[-1].strip())
    tried = "could be reached. Tried:\n" + "\n".join(failures) if failures else "is known."
    raise RuntimeError(
        f"No source of ImageNet weights for {backbone!r} {tried}\nPass a file instead: {how_to_pass_a_file(backbone)}, "
        "or any file described at `keras_sare.models.build`."
    )
