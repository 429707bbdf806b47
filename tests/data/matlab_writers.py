"""Writers of small MATLAB files for the tests: objects of classes, and version 7.3, neither of which SciPy writes.

They follow what files saved by MATLAB show. Values: dict is a struct, list a cell array 1 x n, `Table` makes objects.
"""

import itertools
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np

MAGIC = 0xDD000000
V5_CLASSES = {"f8": 6, "f4": 7, "i1": 8, "u1": 9, "i2": 10, "u2": 11, "i4": 12, "u4": 13, "i8": 14, "u8": 15}
V5_TYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 9, "i8": 12, "u8": 13}
_KEYS = itertools.count()
V73_CLASSES = {
    "f8": "double",
    "f4": "single",
    "u1": "uint8",
    "u4": "uint32",
    "i4": "int32",
    "i8": "int64",
    "u8": "uint64",
}


class Reference(np.ndarray):
    """What stands for an object: uint32 [magic, 2, 1, 1, object, class]."""


class Table:
    """Collects objects and makes the cells of the table FileWrapper__."""

    def __init__(self, order: str = "<", version: int = 4) -> None:
        self.order = order
        self.version = version
        self.names: list[str] = []
        self.classes: list[tuple[str, dict[str, Any]]] = []
        self.objects: list[tuple[int, bool, list[tuple[int, int]]]] = []
        self.values: list[Any] = []

    def add(
        self, class_name: str, properties: dict[str, Any], defaults: dict[str, Any] | None = None, saved: bool = False
    ) -> Reference:
        """Adds an object; `saved`: its class has a `saveobj` that returns `properties` as a struct."""
        names = [name for name, _ in self.classes]
        if class_name not in names:
            self.classes.append((class_name, defaults or {}))
            names.append(class_name)
        kind = names.index(class_name) + 1
        stored = []
        for name, value in ({"any": properties} if saved else properties).items():
            self.values.append(value)
            stored.append((self._name(name), len(self.values) - 1))
        self.objects.append((kind, saved, stored))
        return np.array([[MAGIC, 2, 1, 1, len(self.objects), kind]], "u4").T.view(Reference)

    def cells(self) -> list[Any]:
        """Contents of the table."""
        classes = [0] * 4
        for class_name, _ in self.classes:
            package, _, name = class_name.rpartition(".")
            classes += [self._name(package) if package else 0, self._name(name), 0, 0]
        objects = [0] * 6
        numbers = {True: 0, False: 0}
        blocks = {True: [0, 0], False: [0, 0]}
        for i, (kind, saved, stored) in enumerate(self.objects, start=1):
            numbers[saved] += 1
            objects += [kind, 0, 0, numbers[saved] * saved, numbers[saved] * (not saved), i]
            block = [len(stored), *(word for name, value in stored for word in (name, 1, value))]
            blocks[saved] += block + [0] * (len(block) % 2)
        text = b"".join(name.encode() + b"\0" for name in self.names)
        text += b"\0" * (-len(text) % 8)
        regions = [classes, blocks[True], objects, blocks[False], [], [], [0, 0]]
        offsets = np.cumsum([40 + len(text), *(4 * len(region) for region in regions)])
        words = [word for region in regions for word in region]
        head = struct.pack(f"{self.order}10I", self.version, len(self.names), *offsets)
        index = np.frombuffer(head + text + struct.pack(f"{self.order}{len(words)}I", *words), "u1")
        defaults = [{}, *(of_class for _, of_class in self.classes)]
        return [index[:, None], np.empty((0, 0)), *self.values, [{}] * len(defaults), np.zeros((1, 1), "i4"), defaults]

    def _name(self, name: str) -> int:
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name) + 1


def write_v5(path: Path, variables: dict[str, Any], table: Table | None = None, order: str = "<") -> None:
    """Writes a file of version 5, not compressed."""
    mark = b"IM" if order == "<" else b"MI"
    version = struct.pack(f"{order}H", 0x0100) + mark
    data = b"MATLAB 5.0 MAT-file".ljust(124) + version
    data += b"".join(_matrix(value, order, name) for name, value in variables.items())
    if table:
        cells = _matrix(table.cells(), order)
        wrapper = _flags(17, order) + b"".join(_element(1, text, order) for text in (b"", b"MCOS", b"FileWrapper__"))
        inner = _struct({"MCOS": _element(14, wrapper + cells, order)}, order)
        file = np.frombuffer(version + bytes(4) + inner, "u1")
        data += _matrix(file[None], order)
    path.write_bytes(data)


def _element(kind: int, payload: bytes, order: str) -> bytes:
    if 0 < len(payload) <= 4:
        return struct.pack(f"{order}I", len(payload) << 16 | kind) + payload.ljust(4, b"\0")
    return struct.pack(f"{order}2I", kind, len(payload)) + payload + bytes(-len(payload) % 8)


def _flags(kind: int, order: str) -> bytes:
    return _element(6, struct.pack(f"{order}2I", kind, 0), order)


def _head(kind: int, shape: tuple[int, ...], order: str, name: str) -> bytes:
    dimensions = _element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
    return _flags(kind, order) + dimensions + _element(1, name.encode(), order)


def _struct(fields: dict[str, bytes], order: str, name: str = "") -> bytes:
    names = b"".join(field.encode().ljust(32, b"\0") for field in fields)
    head = _head(2, (1, 1), order, name) + _element(5, struct.pack(f"{order}i", 32), order) + _element(1, names, order)
    return _element(14, head + b"".join(fields.values()), order)


def _matrix(value: Any, order: str, name: str = "") -> bytes:
    if isinstance(value, dict):
        return _struct({field: _matrix(part, order) for field, part in value.items()}, order, name)
    if isinstance(value, list):
        parts = b"".join(_matrix(part, order) for part in value)
        return _element(14, _head(1, (1, len(value)), order, name) + parts, order)
    if isinstance(value, str):
        text = _element(16, value.encode(), order)
        return _element(14, _head(4, (1, len(value)), order, name) + text, order)
    array = np.atleast_2d(value)
    kind = array.dtype.str[1:]
    data = array.astype(order + kind).tobytes(order="F")
    matrix = _head(V5_CLASSES[kind], array.shape, order, name) + _element(V5_TYPES[kind], data, order)
    if not isinstance(value, Reference):
        return _element(14, matrix, order)
    opaque = _flags(17, order) + b"".join(_element(1, text, order) for text in (name.encode(), b"MCOS", b"layer"))
    return _element(
        14, opaque + _element(14, _head(13, array.shape, order, "") + _element(6, data, order), order), order
    )


def write_v73(path: Path, variables: dict[str, Any], table: Table | None = None) -> None:
    """Writes a file of version 7.3."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_group("#refs#")
        for name, value in variables.items():
            _store(file, name, value)
        if table:
            _store(file.create_group("#subsystem#"), "MCOS", table.cells())
            wrapper = file["#subsystem#/MCOS"]
            wrapper.attrs["MATLAB_class"] = np.bytes_("FileWrapper__")
            wrapper.attrs["MATLAB_object_decode"] = np.int32(3)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")


def _store(group: h5py.Group, name: str, value: Any) -> None:
    if isinstance(value, dict) and value:
        item = group.create_group(name)
        for field, part in value.items():
            _store(item, field, part)
        kind = "struct"
    elif isinstance(value, list) and value:
        references = np.empty((len(value), 1), h5py.ref_dtype)
        for i, part in enumerate(value):
            key = f"r{next(_KEYS)}"
            _store(group.file["#refs#"], key, part)
            references[i, 0] = group.file[f"#refs#/{key}"].ref
        item = group.create_dataset(name, data=references, dtype=h5py.ref_dtype)
        kind = "cell"
    else:
        item, kind = _store_array(group, name, value)
    item.attrs["MATLAB_class"] = np.bytes_(kind)


def _store_array(group: h5py.Group, name: str, value: Any) -> tuple[h5py.Dataset, str]:
    kind = {dict: "struct", list: "cell", str: "char"}.get(type(value))
    array = np.array([[ord(letter) for letter in value]], "u2") if isinstance(value, str) else np.atleast_2d(value)
    kind = kind or ("logical" if array.dtype == bool else V73_CLASSES[array.dtype.str[1:]])
    if array.size == 0 or kind in ("struct", "cell"):
        shape = (1, 1) if kind == "struct" else array.shape
        item = group.create_dataset(name, data=np.array(shape, "u8"))
        item.attrs["MATLAB_empty"] = np.uint8(1)
        return item, kind
    item = group.create_dataset(name, data=array.astype("u1").T if kind == "logical" else np.asarray(array).T)
    if isinstance(value, Reference):
        item.attrs["MATLAB_object_decode"] = np.int32(3)
    return item, kind
