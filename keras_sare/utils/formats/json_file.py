"""JSON files from anywhere, bounded before they are read."""

import json
import os
from pathlib import Path
from typing import Any

MOST_BYTES = 2**29
"""Of a file that lists some millions of photos."""


def read_json(path: str | os.PathLike[str], most_bytes: int = MOST_BYTES) -> Any:
    """Reads a JSON file.

    Args:
        path: the file, UTF-8.
        most_bytes: a larger file is refused before it is read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is too large, or no JSON.
    """
    path = Path(path)
    size = path.stat().st_size
    if size > most_bytes:
        raise ValueError(
            f"`path` must be a JSON file of at most {most_bytes} bytes; split it. Received: path={path} of {size} bytes"
        )
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"`path` must be a whole JSON file in UTF-8 ({error}); write it anew. Received: path={path}"
        ) from error
