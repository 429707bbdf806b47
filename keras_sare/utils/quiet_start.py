"""For programs: TensorFlow without the lines that it writes on every start, which tell users nothing."""

import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

from keras_sare.utils.nvidia import nvidia_device

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
"""Environment variable: 0 shows all that TensorFlow tells, 1 warnings and errors, 2 errors, 3 what it dies of."""

# What TensorFlow writes before it reads its level: information and warnings in either of its formats.
_BEFORE_THE_LEVEL = (
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called|To enable the following instructions: |"
    rb"[IW]\d{4} \d\d:\d\d:|\d{4}-\d\d-\d\d [\d:.]+: [IW] "
)
# TensorFlow imports Keras, and Keras these where they are installed, for wrappers and pictures that no program here has
# a use for: a quarter of the time to the first line of a program. What needs them imports them itself.
_OPTIONAL_FOR_KERAS = ("sklearn", "matplotlib")
# An error only where there is a device.
_NO_DEVICE = rb"E\d{4} .*failed call to cuInit"


def is_program() -> bool:
    """Whether Python is on its way to the module that `python -m` names: asked by a package that this imports."""
    return sys.argv[0] == "-m"


def load_tensorflow() -> None:
    """Imports TensorFlow and looks for devices, and shows what they write on the way only from errors on.

    Where the environment variable TF_CPP_MIN_LOG_LEVEL is 0 or 1, all is shown; where it is not set it becomes 2, for
    the processes of this one too. Where TensorFlow was imported before, nothing is done.
    """
    if "tensorflow" in sys.modules:
        return
    quiet = os.environ.setdefault(LEVEL, "2") not in ("0", "1") and hasattr(os, "fork") and sys.stderr is not None
    noise = _BEFORE_THE_LEVEL if nvidia_device() else _BEFORE_THE_LEVEL + b"|" + _NO_DEVICE
    with without_lines(re.compile(noise)) if quiet else nullcontext(), absent(_OPTIONAL_FOR_KERAS):
        import tensorflow as tf

        tf.config.list_physical_devices()


@contextmanager
def absent(modules: Iterable[str]) -> Iterator[None]:
    """Makes other packages find some modules not installed. Those that are imported already stay."""
    hidden = [name for name in modules if name not in sys.modules]
    # What Python gives as the way to make an import fail.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def without_lines(noise: re.Pattern[bytes]) -> Iterator[None]:
    """Leaves lines out of what this process writes to standard error, in native code too.

    A child process copies the others: so they are seen even where this one dies on the spot.
    """
    sys.stderr.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # It ends when its parent does.
        os.close(writing)
        _copy(reading, noise)
        os._exit(0)
    os.close(reading)
    standard_error = os.dup(2)
    os.dup2(writing, 2)
    os.close(writing)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(standard_error, 2)
        os.close(standard_error)
        os.waitpid(child, 0)


def _copy(reading: int, noise: re.Pattern[bytes]) -> None:
    with os.fdopen(reading, "rb") as lines:
        for line in lines:
            if not noise.match(line):
                os.write(2, line)
