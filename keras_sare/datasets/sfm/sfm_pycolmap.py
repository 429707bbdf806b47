"""The one place that imports pycolmap."""

import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def import_pycolmap() -> Any:
    """Returns the module pycolmap.

    Raises:
        ImportError: it is not installed.
    """
    # pycolmap brings a zlib of its own. Where it comes before Python's, Pillow mixes the two when it writes a PNG file,
    # and the process dies ("corrupted size vs. prev_size").
    _ = zlib.ZLIB_RUNTIME_VERSION
    try:
        import pycolmap
    except ImportError as error:
        raise ImportError(
            "Structure from motion and the geometry of local features need pycolmap, which is not installed: "
            '`pip install "keras-sare[sfm]"`.'
        ) from error
    return pycolmap


class _Quiet:
    """Blocks of `quiet_pycolmap` that run, and the level that the last of them brings back."""

    lock = threading.Lock()
    blocks = 0
    level = 0


@contextmanager
def quiet_pycolmap() -> Iterator[Any]:
    """Yields the module pycolmap, which writes nothing to standard error meanwhile: what goes wrong is raised anyway.

    Safe in several threads at a time.

    Raises:
        ImportError: it is not installed.
    """
    pycolmap = import_pycolmap()
    with _Quiet.lock:
        if not _Quiet.blocks:
            _Quiet.level = pycolmap.logging.minloglevel
            pycolmap.logging.minloglevel = int(pycolmap.logging.FATAL)
        _Quiet.blocks += 1
    try:
        yield pycolmap
    finally:
        with _Quiet.lock:
            _Quiet.blocks -= 1
            if not _Quiet.blocks:
                pycolmap.logging.minloglevel = _Quiet.level
