"""Whether this machine has an NVIDIA device, asked without TensorFlow."""

import os
import shutil
import subprocess
from pathlib import Path

DEVICE = Path("/dev/nvidia0")
HIDDEN = ("", "-1")
"""Values of CUDA_VISIBLE_DEVICES that hide all devices."""
_SECONDS = 20


def nvidia_device() -> str | None:
    """Looks for an NVIDIA device that the environment variable CUDA_VISIBLE_DEVICES does not hide.

    Returns:
        Its name as `nvidia-smi` lists it, or its file where that program is missing; None where there is no device.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES") in HIDDEN:
        return None
    return _listed() or (str(DEVICE) if DEVICE.exists() else None)


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
