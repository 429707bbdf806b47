"""The Lance dataset of a place index, and what its errors say."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_sare.localization.index_record import FILE
from keras_sare.utils.error_text import one_line

if TYPE_CHECKING:
    import lancedb

TABLE = "photos"
"""Name of the dataset in the folder."""

# What the system said, as Rust writes it. Of a file that is missing there is no number.
_OF_THE_SYSTEM = re.compile(r"\(os error (\d+)\)")


class DamagedIndexError(ValueError):
    """A file of a place index is missing or is not what was written."""


def connect(folder: Path) -> Any:
    """Opens a folder for Lance.

    Raises:
        ImportError: lancedb is not installed.
    """
    try:
        import lancedb
    except ImportError as error:
        raise ImportError('lancedb must be installed: pip install "keras-sare[index]"') from error
    return lancedb.connect(folder)


def open_table(folder: Path) -> "lancedb.table.Table":
    """Opens the dataset of a place index.

    Raises:
        ImportError: lancedb is not installed.
        OSError, DamagedIndexError: see `told_of`.
    """
    connection = connect(folder)
    with told_of(folder):
        return connection.open_table(TABLE)


@contextmanager
def told_of(folder: Path) -> Iterator[None]:
    """Says of what Lance raises which place index it is, and whether that is damaged.

    Args:
        folder: of the place index.

    Raises:
        FileNotFoundError: the folder has gone.
        OSError: the system refuses a file that may be whole: permissions, too many open files.
        DamagedIndexError: a file is missing or damaged.
    """
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        text = one_line(error)
        if not (folder / FILE).exists():
            raise FileNotFoundError(f"{str(folder)!r} is no place index any more: its {FILE} has gone") from error
        found = _OF_THE_SYSTEM.search(text)
        if found is not None:
            reason = os.strerror(int(found[1]))
            raise OSError(int(found[1]), f"{str(folder)!r} cannot be read: {reason}") from error
        raise DamagedIndexError(f"{str(folder)!r} is damaged: {text}. Build the index anew") from error
