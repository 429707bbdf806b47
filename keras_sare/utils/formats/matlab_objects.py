"""Objects of MATLAB classes inside .mat files.

MATLAB saves an object as a reference: uint32 [0xDD000000, number of dimensions, dimensions .., object .., class]. What
it refers to lies in one table for the whole file (class FileWrapper__), a list of cells: the first holds the index as
bytes, the third and following the values of properties, the last the default properties of each class. MathWorks does
not document the table; the layout here is the one that holds for files of its versions 2 to 4 (R2012 to R2025).
"""

import itertools
import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

_MAGIC = 0xDD000000
_FIRST_VALUE = 2
_MOST_DIMENSIONS = 32
_MISSING = 2**64 - 1
"""Stands for the length of a string that MATLAB calls missing."""


class MatlabObject(dict[str, Any]):
    """Properties of a MATLAB object by name. What its class saves through `saveobj` as a struct counts as properties.

    Args:
        class_name: name of the MATLAB class, for example "layerVLAD".
        properties: by name.
    """

    def __init__(self, class_name: str, properties: dict[str, Any]) -> None:
        super().__init__(properties)
        self.class_name = class_name


class ObjectTable:
    """The table that references to objects are looked up in.

    Args:
        cells: contents of the table, not resolved; None for a file without objects.
        byteorder: "<" or ">" of the file.
    """

    def __init__(self, cells: Sequence[Any] | None, byteorder: str = "<") -> None:
        self._cells = cells or []
        self._u32 = f"{byteorder}u4"
        self._order = byteorder
        # Values that several others refer to are resolved once: nested ten by ten, they would grow without limit.
        self._resolved: dict[int, tuple[Any, Any]] = {}
        self._made: dict[int, Any] = {}
        if cells is None:
            return
        index = np.asarray(cells[0], "uint8").tobytes(order="F")
        version, count, *offsets = struct.unpack(f"{byteorder}10I", index[:40])
        if not 2 <= version <= 4:
            raise ValueError(f"MATLAB objects are stored in version {version} of their table; 2 to 4 can be read")
        self._names = [name.decode() for name in index[40 : offsets[0]].split(b"\0")[:count]]
        regions = [np.frombuffer(index[a:b], self._u32) for a, b in zip(offsets[:4], offsets[1:5], strict=True)]
        self._classes = regions[0].reshape(-1, 4)
        self._objects = regions[2].reshape(-1, 6)
        self._saved = _blocks(regions[1])
        self._plain = _blocks(regions[3])

    def resolve(self, value: Any) -> Any:
        """Replaces references to objects anywhere in nested dicts and lists by the objects."""
        if isinstance(value, dict | list):
            if id(value) not in self._resolved:
                # With the value itself, because its id is only its own as long as it lives.
                self._resolved[id(value)] = value, self._resolve_parts(value)
            return self._resolved[id(value)][1]
        if self._cells and _is_reference(value):
            reference = value.ravel(order="F")
            first = 2 + int(reference[1])
            objects = [self._object(int(number)) for number in reference[first:-1]]
            return objects[0] if len(objects) == 1 else objects
        return value

    def _resolve_parts(self, value: dict[str, Any] | list[Any]) -> dict[str, Any] | list[Any]:
        if isinstance(value, dict):
            return {key: self.resolve(part) for key, part in value.items()}
        return [self.resolve(part) for part in value]

    def _object(self, number: int) -> Any:
        if number not in self._made:
            self._made[number] = self._make(number)
        return self._made[number]

    def _make(self, number: int) -> Any:
        class_number, _, _, saved, plain, _ = (int(entry) for entry in self._objects[number])
        package, name = (int(entry) for entry in self._classes[class_number, :2])
        class_name = ".".join(self._names[part - 1] for part in (package, name) if part)
        properties = dict(self._defaults(class_number))
        for name, kind, value in self._saved[saved] if saved else self._plain[plain]:
            if kind == 1:
                properties[self._names[name - 1]] = self._cells[_FIRST_VALUE + value]
        saved_as = properties.get("any")
        if class_name == "string" and isinstance(saved_as, np.ndarray):
            return _text(saved_as, self._order)
        return MatlabObject(class_name, self.resolve(saved_as if saved and isinstance(saved_as, dict) else properties))

    def _defaults(self, class_number: int) -> dict[str, Any]:
        defaults = self._cells[-1]
        of_class = defaults[class_number] if isinstance(defaults, list) and class_number < len(defaults) else None
        return of_class if isinstance(of_class, dict) else {}


def _text(words: np.ndarray, byteorder: str) -> str | list[str]:
    """Text of an object of MATLAB's class string: one `str`, or a list of an array's in column order.

    Args:
        words: uint64 [1, number of dimensions, dimensions .., characters of each string .., characters in UTF-16].
        byteorder: "<" or ">" of the file.
    """
    numbers = words.ravel(order="F").tolist()
    if words.dtype.kind != "u" or len(numbers) < 2 or numbers[0] != 1 or numbers[1] > _MOST_DIMENSIONS:
        raise ValueError(f"strings in an unknown form: {numbers[:2]}")
    first = 2 + numbers[1]
    count = math.prod(numbers[2:first])
    lengths = [0 if length == _MISSING else length for length in numbers[first : first + count]]
    characters = words.ravel(order="F")[first + count :].astype(f"{byteorder}u8").view(f"{byteorder}u2")
    ends = list(itertools.accumulate(lengths))
    if len(lengths) != count or sum(lengths) > len(characters):
        raise ValueError(f"{count} strings of {sum(lengths)} characters, of which {len(characters)} are there")
    encoding = "utf-16-le" if byteorder == "<" else "utf-16-be"
    parts = zip([0, *ends], ends, strict=False)
    texts = [characters[start:end].tobytes().decode(encoding, "surrogatepass") for start, end in parts]
    return texts[0] if count == 1 else texts


def _is_reference(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.uint32 and value.size > 4 and value.flat[0] == _MAGIC


def _blocks(region: np.ndarray) -> list[list[tuple[int, int, int]]]:
    """Property lists of the objects: a count, then (name, kind, value) each, padded to an even number of words."""
    words = region.tolist()
    blocks = []
    start = 0
    while start < len(words):
        end = start + 1 + 3 * words[start]
        triples = words[start + 1 : end]
        blocks.append(list(zip(triples[::3], triples[1::3], triples[2::3], strict=True)))
        start = end + end % 2
    return blocks
