"""Files and folders that appear whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `target` that replaces it when the block ends without an error.

    The block writes a file to the path, or creates a folder there. A crash leaves `target` as it was. An existing file
    is replaced; an existing folder is not (rename over a non-empty folder is an error).

    Args:
        target: final path. Missing parent folders are created. The temporary name keeps its suffix.

    Raises:
        OSError: the rename failed, for example because `target` is a non-empty folder.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4().hex[:8]}.partial.{target.name}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)
