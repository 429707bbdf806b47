"""What a run on a data set costs on this machine, about."""

import os
import time

import numpy as np

from keras_sare.datasets.checks.finding import NOTE, WARNING, Finding
from keras_sare.utils.files import free_bytes
from keras_sare.utils.progress import duration

_SIDE = 1024
_TRIES = 8
_OPERATIONS_PER_PIXEL = 2 * 15.3e9 / 224**2
"""Of VGG16's convolutions."""
_SHARE_OF_PEAK = 0.5
_DIM = 32768
"""Numbers of a NetVLAD descriptor."""
_BYTES_PER_PIXEL = 512 * 2 / 16**2
"""Of a stored activation of the frozen layers, float16."""
_MODEL_BYTES = 4e9


def estimate_costs(images: int, pixels: float, folder: str | os.PathLike[str]) -> Finding:
    """Estimates disk, memory and time of the default network (VGG16 with NetVLAD) on this machine's CPUs.

    Args:
        images: of all splits.
        pixels: of an image, height times width.
        folder: on the disk of the run.
    """
    seconds = images * pixels * _OPERATIONS_PER_PIXEL / (_SHARE_OF_PEAK * _operations_per_second())
    disk = images * (pixels * _BYTES_PER_PIXEL + 4.0 * _DIM) + _MODEL_BYTES
    memory = 3e9 + 4.0 * _DIM * 10_000
    free = free_bytes(folder)
    message = (
        f"about, with VGG16 and NetVLAD at this size on this machine's CPUs: {duration(seconds)} for each time that "
        f"all {images} photos are described, {disk / 1e9:.1f} GB of disk ({free / 1e9:.1f} GB are free), "
        f"{memory / 1e9:.1f} GB of memory"
    )
    if disk > free:
        return Finding("costs", WARNING, "a run", message, "Make room, or use smaller images (--image_size)")
    return Finding("costs", NOTE, "a run", message)


def _operations_per_second() -> float:
    matrix = np.ones((_SIDE, _SIDE), np.float32)
    times = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - start)
    return 2.0 * _SIDE**3 / min(times)
