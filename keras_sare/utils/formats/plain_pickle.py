"""Pickles of plain data, read without running anything that they name."""

import io
import os
from pathlib import Path
from typing import Any

from keras_sare.utils.formats.pickled_arrays import ARRAY_CALLS, ARRAY_STATES, Dtype
from keras_sare.utils.formats.pickled_containers import CONTAINER_CALLS, RefusedError
from keras_sare.utils.formats.safe_pickle import Admitted, Named, read_pickle

_PLAIN = Admitted(calls=CONTAINER_CALLS | ARRAY_CALLS, states=ARRAY_STATES)


def load_plain_pickle(path: str | os.PathLike[str]) -> Any:
    """Reads a pickle of plain data from anywhere: no code is run, no module imported, no attribute read.

    Of all functions a handful is known by name, those that numpy and Python write for arrays and sets; see
    `keras_sare.utils.formats.safe_pickle`. Whatever else a pickle asks for is refused.

    Args:
        path: a pickle of any protocol, 0 to 5, by Python 2 or 3. Strings of Python 2 become text by Latin-1.

    Returns:
        What the pickle holds: dicts, lists, tuples, sets, text, bytes, numbers, None, and numpy arrays and scalars of
        numbers, truth values, text or bytes. Arrays cannot be written to; a bytearray comes as bytes, an OrderedDict as
        a dict.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the pickle asks for anything else, or is damaged.
    """
    return parse_plain_pickle(Path(path).read_bytes(), os.fspath(path))


def parse_plain_pickle(contents: bytes, path: str) -> Any:
    """Reads a pickle of plain data that is in memory already.

    Args:
        contents: the pickle.
        path: where it came from, for messages.

    Returns:
        As `load_plain_pickle`.

    Raises:
        ValueError: as `load_plain_pickle`.
    """
    try:
        return _checked_plain(read_pickle(io.BytesIO(contents), _PLAIN))
    except RefusedError as refusal:
        raise ValueError(
            f"`path` must be a pickle of plain data (containers, text, numbers, numpy arrays); this one {refusal}; "
            f"refused. If you trust it, load it where it was written and save plain data. Received: path={path}"
        ) from refusal
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"`path` must be a whole pickle; this file is damaged or none ({error}). Download it again. "
            f"Received: path={path}"
        ) from error


def _checked_plain(result: Any) -> Any:
    """Refuses what is left of names and dtypes anywhere in the result."""
    seen = set()
    waiting = [result]
    while waiting:
        item = waiting.pop()
        if type(item) in (Named, Dtype):
            raise RefusedError(f"holds {item}")
        if isinstance(item, list | tuple | dict) and id(item) not in seen:
            seen.add(id(item))
            waiting += [*item, *item.values()] if isinstance(item, dict) else item
    return result
