"""Whether this machine has an NVIDIA device, and whether TensorFlow sees it."""

import logging
import os
import shutil
import subprocess
from pathlib import Path

logger = logging.getLogger(__name__)

DEVICE = Path("/dev/nvidia0")
HIDDEN = ("", "-1")
"""Values of CUDA_VISIBLE_DEVICES that hide all devices."""
_SECONDS = 20


def nvidia_device() -> str | None:
    """Looks for an NVIDIA device without TensorFlow; one that CUDA_VISIBLE_DEVICES hides is none.

    Returns:
        Its name as `nvidia-smi` lists it, or its file where that program is missing; None where there is no device.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES") in HIDDEN:
        return None
    return _listed() or (str(DEVICE) if DEVICE.exists() else None)


def warn_of_unseen_device() -> bool:
    """Warns where this machine has an NVIDIA device that TensorFlow does not see, so that all runs on the processor.

    Returns:
        Whether that is so.
    """
    import tensorflow as tf  # Here, because this module is asked before TensorFlow is imported, too.

    if tf.config.list_physical_devices("GPU") or (device := nvidia_device()) is None:
        return False
    logger.warning(
        "TensorFlow does not see %s and computes on the processor, which is many times slower: CUDA's libraries are "
        'missing, or the driver is too old for them. Run pip install "tensorflow[and-cuda]==%s"; or set '
        "CUDA_VISIBLE_DEVICES=-1 where the processor is what you want",
        device,
        tf.__version__,
    )
    return True


def _listed() -> str | None:
    """The first line of `nvidia-smi -L`, such as "GPU 0: NVIDIA H200 (UUID: ...)"."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None  # Of no use, as where it is missing.
    lines = [line for line in done.stdout.splitlines() if line.startswith("GPU ")]
    return lines[0].partition(" (UUID")[0] if lines and done.returncode == 0 else None
