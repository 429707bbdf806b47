"""The photos that a run is about."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_sare.datasets.images.readable_images import readable_images
from keras_sare.utils.text import printable
from serving.client.photos import find_photos

logger = logging.getLogger("keras_sare.locate")


def readable_photos(inputs: Sequence[str], dataset: str, role: str, memory: Path) -> np.ndarray:
    """Finds photos that can be read. Others are logged and left out, also those whose names are no text.

    Args:
        inputs: files, folders and patterns.
        dataset: what they are, for messages.
        role: what the photos are in it, for messages.
        memory: folder that remembers which files could be read.

    Returns:
        Files, StringDType [N].

    Raises:
        FileNotFoundError: one of the inputs is not there.
        ValueError: no photo can be read.
    """
    names = [*filter(_is_text, find_photos(inputs))]
    if not names:
        raise ValueError("`photos` must hold one at least whose name is UTF-8; rename them. Received: none")
    found = np.array(names, np.dtypes.StringDType())
    return found[readable_images(found, dataset, role, max_corrupt_share=1.0, memory=memory)]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        logger.warning("%s: left out, for its name is not UTF-8; rename it", printable(name))
        return False
    return True
