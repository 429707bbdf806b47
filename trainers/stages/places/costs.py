"""What a run on places costs on this machine, about."""

import math
import time
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from keras_sare.datasets.checks.finding import NOTE, WARNING, Finding
from keras_sare.utils.files import free_bytes
from keras_sare.utils.progress import duration
from trainers.config import PittsConfig

_TRUNK = 2 * 13.96e9 / 224**2
"""Operations a pixel of VGG16 up to conv5_1, whose output is stored."""
_HEAD = 2 * 1.39e9 / 224**2
"""Of conv5, which is trained; NetVLAD's own hardly count."""
_BACKWARD = 3
"""A training step costs so many times what a description does."""
_STORED = 512 * 2 / 16**2
"""Bytes a pixel of the stored output, float16."""
_DESCRIPTOR = 4.0 * 512 * 64
"""Bytes of a NetVLAD descriptor."""
_MODELS = 4e9
"""Bytes of models and checkpoints of a run."""
_PROCESS = 3e9
"""Bytes of memory beside descriptors."""
_CHANNELS = 256
_TRIES = 4


def estimate_costs(counts: Mapping[str, tuple[int, int]], folder: Path) -> Finding:
    """Estimates time, disk and memory of `trainers.pitts` as it comes (VGG16 with NetVLAD), or of an evaluation.

    Args:
        counts: numbers of database images and of queries that can be read, by split.
        folder: on the disk of the run.
    """
    defaults = PittsConfig()
    height, width = defaults.image_size
    rate = _operations_per_second()
    images = sum(map(sum, counts.values()))
    once = images * height * width * (_TRUNK + _HEAD) / rate
    message = f"with VGG16 and NetVLAD at {height} x {width}, as busy as this machine is now: about {duration(once)} "
    message += f"to describe all {images} images"
    if "train" not in counts:
        return Finding("costs", NOTE, "an evaluation", message)
    epoch = _epoch(counts, defaults) * height * width * _HEAD / rate
    disk = min(images * height * width * _STORED, defaults.store_gb * 1e9) + _MODELS
    free = free_bytes(folder)
    memory = _PROCESS + min(defaults.memory_limit, _DESCRIPTOR * sum(counts["train"]))
    message += (
        f" once, then {duration(epoch)} an epoch, at most {defaults.epochs} of them; {disk / 1e9:.0f} GB of disk "
        f"({free / 1e9:.0f} GB are free at {str(folder)!r}), {memory / 1e9:.0f} GB of memory"
    )
    if disk <= free:
        return Finding("costs", NOTE, "a training", message)
    advice = "Name another disk (--store), or take smaller images (--image_size): what does not fit is computed anew"
    return Finding("costs", WARNING, "a training", message, f"{advice} every epoch")


def _epoch(counts: Mapping[str, tuple[int, int]], defaults: PittsConfig) -> float:
    """Images that the trained layers see in an epoch, a trained one counted as what it costs more."""
    _, queries = counts["train"]
    refreshes = math.ceil(queries / defaults.refresh_every)
    trained = _BACKWARD * queries * (2 + defaults.negatives)
    return refreshes * sum(counts["train"]) + sum(counts.get("val", ())) + trained


def _operations_per_second() -> float:
    """Of a convolution as they are in the middle of VGG16, on the device that TensorFlow takes."""
    images = tf.ones([1, 30, 40, _CHANNELS])
    kernel = tf.ones([3, 3, _CHANNELS, _CHANNELS])
    times = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        float(tf.nn.conv2d(images, kernel, 1, "SAME")[0, 0, 0, 0])
        times.append(time.perf_counter() - start)
    return 2 * 9 * _CHANNELS**2 * 30 * 40 / min(times)
