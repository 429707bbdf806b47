"""Files and folders that appear whole or not at all, and that one process writes at a time."""

import errno
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

logger = logging.getLogger(__name__)

_PARTIAL = "partial"
_SETTLERS = 16
# Windows settles no file that is open for reading only.
_SETTLE_FILE = os.O_RDWR if os.name == "nt" else os.O_RDONLY


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `target` that replaces it when the block ends without an error.

    The block writes a file to the path, or creates a folder there. A crash leaves `target` as it was, and so does a
    power cut: what was written is on the disk before it gets its name. An existing file is replaced; an existing folder
    is not (rename over a non-empty folder is an error).

    Args:
        target: final path. Missing parent folders are created. The temporary name keeps its suffix.

    Raises:
        OSError: the disk is full or fails, or the rename failed, for example because `target` is a non-empty folder.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4().hex[:8]}.{_PARTIAL}.{target.name}")
    try:
        yield temporary
        _settle(temporary)
        os.replace(temporary, target)
        _settle_entries(target.parent)
    finally:
        _remove(temporary)


def partials(folder: str | os.PathLike[str], name: str = "*") -> list[Path]:
    """What blocks of `atomic_path` left in `folder` when they were killed, and what blocks that go on are writing.

    Args:
        folder: is looked at without the folders in it. It need not exist.
        name: pattern of the final names.
    """
    return sorted(Path(folder).glob(f".????????.{_PARTIAL}.{name}"))


def remove_partials(folder: str | os.PathLike[str]) -> None:
    """Deletes what blocks of `atomic_path` left in `folder` when they were killed.

    Args:
        folder: one that no other process writes to; the folders in it are left alone. It need not exist.
    """
    for path in partials(folder):
        _remove(path)


def lock(path: str | os.PathLike[str]) -> None:
    """Keeps other processes out of a folder until this one ends, killed or not.

    The process itself may lock it again. A file system without locks is warned of.

    Args:
        path: file in the folder, such as `run.lock`; made where it does not exist, with the folder, and never deleted.

    Raises:
        RuntimeError: another process holds the lock.
    """
    import fcntl  # Windows has none, and all else here works there.

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        # Of the two kinds of locks this one is the process's: no child inherits it, and it may be taken again.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise RuntimeError(
                f"Another process runs in {str(path.parent)!r}, and two would spoil each other's files. Wait until it "
                "ends, or name another folder."
            ) from error
        logger.warning("Cannot lock %s (%s): let no other process run in its folder", path, error.strerror)


def is_locked(path: str | os.PathLike[str]) -> bool:
    """Whether another process holds the lock of a file; see `lock`. This process must not hold it itself."""
    import fcntl

    try:
        with open(path, "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EAGAIN)
    return False


def check_writable_folder(folder: str | os.PathLike[str]) -> None:
    """Checks that files can be written to a folder, before hours go into what they will hold. Leaves nothing there.

    Args:
        folder: it need not exist, nor the folders above it.

    Raises:
        OSError: it cannot be made or written, with the reason.
    """
    folder = Path(folder)
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            pass
    except OSError as error:
        raise OSError(
            f"{str(folder)!r} must be a folder that can be made and written: {error.strerror or error}. Name another."
        ) from error


def check_writable_file(file: str | os.PathLike[str]) -> None:
    """Checks that `atomic_path` can write a file, as `check_writable_folder` does.

    Raises:
        OSError: it cannot, with the reason.
    """
    file = Path(file)
    if file.is_dir():
        raise IsADirectoryError(f"{str(file)!r} must be a file to write, and is a folder. Name another.")
    check_writable_folder(file.parent)


def free_bytes(path: str | os.PathLike[str]) -> int:
    """Bytes that are free on the disk where a file or folder is or will be.

    Args:
        path: it need not exist, nor the folders above it.
    """
    return shutil.disk_usage(_existing(Path(path))).free


def same_disk(*paths: str | os.PathLike[str]) -> bool:
    """Whether files and folders that are, or will be, at some paths share one disk."""
    return len({_existing(Path(path)).stat().st_dev for path in paths}) == 1


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    path = path.absolute()
    return next(one for one in (path, *path.parents) if one.exists())


def _settle(path: Path) -> None:
    """Waits until a file, or a folder with all that is in it, is on the disk."""
    if not path.is_dir():
        _settle_file(path)
        return
    folders = [(Path(folder), names) for folder, _, names in os.walk(path)]
    files = [folder / name for folder, names in folders for name in names]
    # Several at once: the disk's journal then takes them together, which is many times faster for small files.
    with ThreadPoolExecutor(_SETTLERS) as pool:
        list(pool.map(_settle_file, files))
        list(pool.map(_settle_entries, [folder for folder, _ in folders]))


def _settle_file(path: Path) -> None:
    if path.is_file() and not path.is_symlink():
        _fsync(path, _SETTLE_FILE)


def _settle_entries(folder: Path) -> None:
    """Waits until the names in a folder are on the disk, where the file system can tell."""
    with suppress(OSError):
        _fsync(folder, os.O_RDONLY)


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
