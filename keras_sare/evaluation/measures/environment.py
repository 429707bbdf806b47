"""Where something was measured: versions, machine and devices of this process."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("keras-sare", "tensorflow", "keras", "numpy", "scipy", "pillow", "h5py", "onnxruntime")
"""Whose versions may change a figure."""


def environment() -> dict[str, str | int]:
    """Versions of packages and Python, the system, its processors, memory and GPUs, by name."""
    versions: dict[str, str | int] = {name: found for name in PACKAGES if (found := _version(name))}
    machine: dict[str, str | int] = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "processors": os.cpu_count() or 1,
        "memory": f"{_memory() / 2**30:.1f} GiB" if _memory() else "unknown",
        "devices": ", ".join(_devices()),
    }
    return versions | machine


def peak_bytes() -> int | None:
    """Most memory that this process has had so far; None where the system does not tell."""
    try:
        import resource  # Windows has none.
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _version(name: str) -> str:
    """Version of an installed distribution; "" where there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    """The processor's name, as Linux says it or else as Python knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _memory() -> int:
    """Bytes of the machine; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _devices() -> list[str]:
    """What TensorFlow computes with: GPUs by their names, or else the processor."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return [str(one.get("device_name", gpu.name)) for one, gpu in zip(details, gpus, strict=True)] or ["CPU"]
