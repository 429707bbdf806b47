"""Files of `torch.save`, read and written without PyTorch."""

import io
import math
import mmap
import os
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from keras_sare.models.importers.formats.torch_pickle import STORAGES, read_torch_pickle
from keras_sare.utils.files import atomic_path

LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""How files of torch before 1.6 begin: the pickle of a magic number."""
ALIGNMENT = 64
"""Of the elements in the file, in bytes, as torch writes them."""

_STORAGE_NAMES = {np.dtype(element): name for name, element in STORAGES.items() if element != "bfloat16"}
_MALFORMED = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, AttributeError, LookupError, TypeError),
    *(ValueError, OverflowError, MemoryError, NotImplementedError, RecursionError),
)
"""What broken files make the standard library raise."""


def is_torch_file(path: str | os.PathLike[str]) -> bool:
    """Whether the file begins as one of `torch.save`, of any version."""
    with open(path, "rb") as file:
        start = file.read(len(LEGACY_START))
    return start.startswith(b"PK\x03\x04") or start == LEGACY_START


def read_torch(path: str | os.PathLike[str]) -> Any:
    """Reads what `torch.save` wrote, in today's format (a zip archive) or in that of torch before 1.6.

    Nothing that the file names is run. Elements are not copied: tensors are read-only arrays that look into the file,
    which must stay there as long as they are used. bfloat16 is widened to float32.

    Args:
        path: the file.

    Returns:
        What was saved, usually a dictionary: containers and numbers as they were, tensors as numpy arrays, and objects
        of unknown classes as empty stand-ins whose type is called what the class was called.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is something else, is damaged or wants to run something; the message says which.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`path` must name an existing file. Received: path={str(path)!r}")
    if not is_torch_file(path):
        raise ValueError(
            f"`path` must be a file that `torch.save` wrote (version 0.1.10 or later). Received: path={str(path)!r}"
        )
    try:
        with open(path, "rb") as file:
            return _read_zip(path) if file.read(2) == b"PK" else _read_legacy(path)
    except _MALFORMED as error:
        raise ValueError(
            f"`path` must be a whole file of weights that `torch.save` wrote: {error}. Received: path={str(path)!r}"
        ) from error


def write_torch(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Writes what `torch.load(path, weights_only=True)` reads.

    The same state gives the same file, byte for byte.

    Args:
        path: the file to write; an existing one is replaced.
        state: dictionary, also nested, of arrays and of plain Python values. Arrays become tensors.

    Raises:
        ValueError: an array has a type of elements that torch does not know.
    """
    storages: list[np.ndarray] = []
    content = b"\x80\x02" + _pickled(state, storages) + b"."
    records = {"data.pkl": content, "byteorder": b"little"}
    with atomic_path(path) as temporary, open(temporary, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, data in records.items():
            _write_record(archive, file, name, data)
        for i, array in enumerate(storages):
            _write_record(archive, file, f"data/{i}", array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        _write_record(archive, file, "version", b"3\n")


def _read_zip(path: Path) -> Any:
    data = np.memmap(path, mode="r")
    cache: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        root = next((name[: -len("data.pkl")] for name in names if name.endswith("/data.pkl")), None)
        if root is None:
            raise ValueError("the archive has no data.pkl; `keras.saving.load_model` reads the files (.keras) of Keras")
        if f"{root}constants.pkl" in names:
            raise ValueError("it holds a TorchScript program; save the network's `state_dict()` instead")
        packed = [info.filename for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise ValueError(f"{packed[0]} is compressed, which torch never does")
        order = ">" if f"{root}byteorder" in names and archive.read(f"{root}byteorder") == b"big" else "<"

        def storage(key: str, element: str, count: int) -> np.ndarray:
            if key not in cache:
                start, size = _record(data, archive.getinfo(f"{root}data/{key}"))
                cache[key] = _elements(data[start : start + size], order, element, count)
            return cache[key]

        return read_torch_pickle(io.BytesIO(archive.read(f"{root}data.pkl")), storage)


def _record(data: np.ndarray, info: zipfile.ZipInfo) -> tuple[int, int]:
    """Start and size of a record. The central directory does not tell where its bytes start; its own header does."""
    name_size, extra_size = struct.unpack("<HH", data[info.header_offset + 26 : info.header_offset + 30].tobytes())
    return info.header_offset + 30 + name_size + extra_size, info.file_size


def _elements(data: np.ndarray, order: str, element: str, count: int) -> np.ndarray:
    dtype = np.dtype(f"{order}u2" if element == "bfloat16" else order + element)
    if count * dtype.itemsize > len(data):
        raise ValueError(f"a storage of {count} elements has only {len(data)} bytes left; the file is truncated")
    elements = data[: count * dtype.itemsize].view(np.ndarray).view(dtype)
    if element == "bfloat16":
        return (elements.astype("u4") << 16).view("f4")
    return elements if dtype.isnative else elements.astype(dtype.newbyteorder("="))


def _read_legacy(path: Path) -> Any:
    """Reads magic number, version, system, content, keys of the storages, and the storages one after the other.

    The content comes before the elements that it refers to. So it is unpickled twice: once to learn what the storages
    are, and again when their places are known.
    """
    data = np.memmap(path, mode="r")
    found: dict[str, tuple[str, int]] = {}

    def note(key: str, element: str, count: int) -> np.ndarray:
        if count > len(data):
            raise ValueError(f"a storage of {count} elements is larger than the file; the file is truncated")
        found[key] = (element, count)
        return np.empty(count, "u2" if element == "bfloat16" else element)  # Never touched, hence never in memory.

    # A map of the file, which never makes room for more than there is, whatever length the pickle states.
    with open(path, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as file:
        for _ in range(3):
            read_torch_pickle(file, note)
        content = file.tell()
        read_torch_pickle(file, note)
        keys = read_torch_pickle(file, note)
        storages = {}
        position = file.tell()
        for key in keys:
            if type(key) is not str:
                raise ValueError("a key of a storage is no text")
            element, count = found[key]
            if data[position : position + 8].tobytes() != struct.pack("<q", count):
                raise ValueError(f"storage {key} is not where it should be; the file is truncated or damaged")
            storages[key] = _elements(data[position + 8 :], "<", element, count)
            position += 8 + count * (2 if element == "bfloat16" else np.dtype(element).itemsize)
        file.seek(content)
        return read_torch_pickle(file, lambda key, element, count: storages[key])


def _pickled(value: Any, storages: list[np.ndarray]) -> bytes:
    """Opcodes that push `value`. Python's pickler would have to import torch to name torch's functions."""
    if isinstance(value, np.ndarray):
        return _pickled_tensor(value, storages)
    if isinstance(value, Mapping):
        items = (_pickled(key, storages) + _pickled(item, storages) for key, item in value.items())
        return b"}(" + b"".join(items) + b"u"
    return pickle.dumps(value, protocol=2)[2:-1]


def _pickled_tensor(array: np.ndarray, storages: list[np.ndarray]) -> bytes:
    storage = _STORAGE_NAMES.get(array.dtype.newbyteorder("="))
    if storage is None:
        raise ValueError(
            f"`state` must hold arrays of {', '.join(map(str, _STORAGE_NAMES))}. Received: an array of {array.dtype}"
        )
    kind, key, location, count, offset, shape, strides = (
        _pickled(value, [])
        for value in (
            *("storage", str(len(storages)), "cpu", array.size, 0, array.shape),
            tuple(math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)),
        )
    )
    storages.append(array)
    # _rebuild_tensor_v2(("storage", type, key, location, count), offset, shape, strides, False, OrderedDict())
    persistent = b"(" + kind + f"ctorch\n{storage}\n".encode() + key + location + count + b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + persistent + offset + shape + strides + b"\x89" + hooks + b"tR"


def _write_record(archive: zipfile.ZipFile, file: IO[bytes], name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(f"archive/{name}")
    padding = -(file.tell() + 30 + len(info.filename) + 4) % ALIGNMENT
    info.extra = struct.pack("<HH", int.from_bytes(b"FB", "little"), padding) + b"Z" * padding
    archive.writestr(info, data)
