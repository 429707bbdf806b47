"""MATLAB files of version 5 to 7: a header of 128 bytes, then tagged elements, possibly compressed.

SciPy reads such files too, but leaves objects of MATLAB classes (the layers of the published networks) unread, and a
damaged file can crash the process in its compiled code. Here every length is checked against what is left.

Reference: MathWorks, "MAT-File Format", chapter 1.
"""

import mmap
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_MATRIX = 14
_COMPRESSED = 15
_INTEGERS = 5
_WORDS = 6
_UTF8 = 16
_CELL = 1
_STRUCT = 2
_OLD_OBJECT = 3
_CHAR = 4
_OPAQUE = 17
_LOGICAL = 0x0200
_COMPLEX = 0x0800
_STEP = 65536
"""Compressed bytes that are inflated at a time."""


def read_v5(data: bytes | mmap.mmap) -> tuple[dict[str, Any], list[Any] | None, str]:
    """Reads all variables of a file.

    Args:
        data: the whole file.

    Returns:
        Variables by name (see `keras_sare.utils.formats.matlab_file.read_matlab`; references to objects are not
        resolved yet), the cells of the object table (None where there is none), and the byte order, "<" or ">".

    Raises:
        ValueError: the file is cut or damaged.
    """
    order = {b"IM": "<", b"MI": ">"}[data[126:128]]
    reader = _Reader(order)
    variables = {}
    table = None
    for kind, payload in reader.elements(memoryview(data)[128:]):
        if kind == _COMPRESSED:
            kind, payload = next(reader.elements(memoryview(_decompress(payload, order))))
        name, value = reader.matrix(kind, payload)
        if name:
            variables[name] = value
        elif isinstance(value, np.ndarray) and value.dtype == np.uint8:
            # A file inside the file, with a header of eight bytes.
            inner = next(reader.elements(memoryview(value.tobytes(order="F"))[8:]))
            table = reader.matrix(*inner)[1].get("MCOS")
    return variables, table if isinstance(table, list) else None, order


def _decompress(payload: memoryview, order: str) -> bytearray:
    # A few bytes may inflate to gigabytes: what the variable says of itself comes first.
    tag = zlib.decompressobj().decompress(payload[:_STEP], 8)
    if len(tag) < 8:
        raise ValueError("a compressed variable is cut")
    kind, size = (int(word) for word in np.frombuffer(tag, f"{order}u4"))
    _check_matrix(kind)
    # One byte more, so that the end of the stream is seen.
    inflate = zlib.decompressobj()
    data = bytearray()
    limit = 8 + size + 1
    for start in range(0, len(payload), _STEP):
        data += inflate.decompress(payload[start : start + _STEP], limit - len(data))
        if inflate.eof or len(data) == limit:
            break
    else:
        raise ValueError("a compressed variable is cut")
    return data


def _check_matrix(kind: int) -> None:
    if kind != _MATRIX:
        raise ValueError(f"an element of type {kind} where a variable is expected")


class _Reader:
    def __init__(self, order: str) -> None:
        self.order = order
        # Cells are many and small: what every one has is read without NumPy, which takes ten times as long for it.
        self._two_words = struct.Struct(f"{order}2I")

    def elements(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Types and payloads of consecutive elements."""
        position = 0
        while position < len(data):
            if len(data) - position < 8:
                raise ValueError("the file ends inside the tag of an element")
            tag, size = self._two_words.unpack_from(data, position)
            start = position + 8
            small = tag >> 16
            if small:
                tag = tag & 0xFFFF
                size = small
                start = position + 4
            if size > len(data) - start or (small and size > 4):
                raise ValueError(f"an element of {size} bytes where only {len(data) - start} are left")
            yield tag, data[start : start + size]
            # Compressed elements alone are not padded to eight bytes.
            position = start + size if tag == _COMPRESSED else start + size + (-(start + size)) % 8

    def matrix(self, element: int, payload: memoryview) -> tuple[str, Any]:
        """Name and value of a matrix; `element` is the type of the element that should be one."""
        _check_matrix(element)
        if not len(payload):
            return "", np.empty((0, 0))
        # One by one: a list of them would be many times as large as the file.
        parts = self.elements(payload)
        flags = self._flags(*next(parts))
        kind = flags & 0xFF
        if kind == _OPAQUE:
            (_, label), _, _, metadata = (next(parts) for _ in range(4))
            return bytes(label).decode(), self.matrix(*metadata)[1]
        shape = self._shape(*next(parts))
        name = bytes(next(parts)[1]).decode()
        if kind == _OLD_OBJECT:
            next(parts)  # the class's name
        return name, self._value(kind, flags, shape, parts)

    def _value(self, kind: int, flags: int, shape: tuple[int, ...], parts: Iterator[tuple[int, memoryview]]) -> Any:
        if kind == _CELL:
            return [self.matrix(*part)[1] for part in parts]
        if kind in (_STRUCT, _OLD_OBJECT):
            return self._structs(shape, parts)
        if kind == _CHAR:
            return self._text(shape, *next(parts))
        if kind not in _CLASSES:
            return None
        dtype = np.dtype(_CLASSES[kind])
        if flags & _COMPLEX:
            real, imaginary = (self._numbers(*next(parts)).astype(dtype) for _ in range(2))
            return (real + 1j * imaginary).reshape(shape, order="F")
        numbers = self._numbers(*next(parts)).reshape(shape, order="F")
        return numbers.astype(bool if flags & _LOGICAL else dtype, copy=False)

    def _structs(self, shape: tuple[int, ...], parts: Iterator[tuple[int, memoryview]]) -> Any:
        width = int(self._numbers(*next(parts))[0])
        text = bytes(next(parts)[1])
        fields = [text[start : start + width].split(b"\0")[0].decode() for start in range(0, len(text), width)]
        if not fields:
            return structs_without_fields(shape)
        structs = [{field: self.matrix(*next(parts))[1] for field in fields} for _ in range(int(np.prod(shape)))]
        return structs[0] if len(structs) == 1 else structs

    def _flags(self, kind: int, payload: memoryview) -> int:
        self._check_numbers(kind, _WORDS)
        return int(self._two_words.unpack(payload)[0])

    def _shape(self, kind: int, payload: memoryview) -> tuple[int, ...]:
        self._check_numbers(kind, _INTEGERS)
        return struct.unpack(f"{self.order}{len(payload) // 4}i", payload)

    def _check_numbers(self, kind: int, expected: int) -> None:
        if kind != expected:
            raise ValueError(f"an element of type {kind} where numbers are expected, of type {expected}")

    def _text(self, shape: tuple[int, ...], kind: int, payload: memoryview) -> str | list[str]:
        if kind == _UTF8 and shape == (1, len(payload)) and payload.tobytes().isascii():
            return bytes(payload).decode("ascii")  # as nearly all text is
        return strings(self._characters(kind, payload).reshape(shape, order="F"))

    def _numbers(self, kind: int, payload: memoryview) -> np.ndarray:
        if kind not in _NUMBERS:
            raise ValueError(f"an element of type {kind} where numbers are expected")
        return np.frombuffer(payload, self.order + _NUMBERS[kind])

    def _characters(self, kind: int, payload: memoryview) -> np.ndarray:
        endian = "le" if self.order == "<" else "be"
        if kind in (16, 17, 18):
            encoding = {16: "utf-8", 17: f"utf-16-{endian}", 18: f"utf-32-{endian}"}[kind]
            return np.frombuffer(bytes(payload).decode(encoding).encode("utf-32-le"), "<u4")
        return self._numbers(kind, payload)


def strings(characters: np.ndarray) -> str | list[str]:
    """Text of a matrix of code points [rows, columns]: a string where there is one row or none, else one per row."""
    if not characters.size:
        return ""
    # MATLAB may cut pairs of surrogates in two.
    codes = characters.reshape(len(characters), -1).astype("<u4")
    rows = [row.tobytes().decode("utf-32-le", "surrogatepass") for row in codes]
    return rows if len(rows) > 1 else rows[0]


def structs_without_fields(shape: tuple[int, ...]) -> Any:
    """A struct or an empty array of structs; None for an array of several, of which only the number would be known."""
    return {0: [], 1: {}}.get(int(np.prod(shape)))
