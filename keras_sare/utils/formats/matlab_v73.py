"""MATLAB files of version 7.3: HDF5 with MATLAB's conventions.

Dimensions are stored in reverse. A cell array is an array of references, a struct is a group, an array of structs is a
group of arrays of references, text is uint16, an empty array stores its dimensions, and each says so in its attributes.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from keras_sare.utils.formats.hdf5 import checked_item, checked_reference, has_link, is_references
from keras_sare.utils.formats.matlab_v5 import strings, structs_without_fields

_NUMERIC = ("double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
_MOST_REFERENCES = 1_000_000


def read_v73(path: Path, names: list[str] | None) -> tuple[dict[str, Any], list[Any] | None]:
    """Reads variables of a file.

    Args:
        path: the file.
        names: which variables; None for all.

    Returns:
        Variables by name (see `keras_sare.utils.formats.matlab_file.read_matlab`; references to objects are not
        resolved yet) and the cells of the object table, None where there is none.

    Raises:
        OSError: the file is cut or damaged.
        ValueError: likewise, or it refers to other files, or claims more than it can hold.
    """
    with h5py.File(path, "r") as file:
        # MATLAB keeps what cells and objects refer to in groups whose names start with a hash.
        wanted = [name for name in file if not name.startswith("#") and (names is None or name in names)]
        reader = _Reader()
        objects = has_link(file, "#subsystem#") and has_link(checked_item(file, "#subsystem#"), "MCOS")
        table = reader.value(checked_item(file, "#subsystem#/MCOS")) if objects else None
        return {name: reader.value(checked_item(file, name)) for name in wanted}, table


@dataclass
class _Reader:
    values: dict[int, Any] = field(default_factory=dict)
    """By address: cells that refer to cells, ten by ten, would grow without limit if each were read again."""
    references: int = 0

    def value(self, item: h5py.Group | h5py.Dataset) -> Any:
        address = h5py.h5o.get_info(item.id).addr
        if address not in self.values:
            self.values[address] = self._convert(item)
        return self.values[address]

    def _convert(self, item: h5py.Group | h5py.Dataset) -> Any:
        if isinstance(item, h5py.Group):
            known = _class(item) in ("struct", "") and "MATLAB_sparse" not in item.attrs
            return self._struct(item) if known else None
        if is_references(item) and not item.attrs.get("MATLAB_empty"):
            self.references += item.size
            if self.references > _MOST_REFERENCES:
                raise ValueError(f"cells of more than {_MOST_REFERENCES} values")
            return [self.value(checked_reference(item.file, reference)) for reference in item[()].ravel()]
        return _array(item)

    def _struct(self, group: h5py.Group) -> Any:
        items = {name: checked_item(group, name) for name in group}
        fields = {name: self.value(item) for name, item in items.items()}
        # In an array of structs, and only there, the arrays of references carry no class.
        if fields and all("MATLAB_class" not in item.attrs for item in items.values()):
            columns = zip(*fields.values(), strict=True)
            return [dict(zip(fields, values, strict=True)) for values in columns]
        return fields


def _class(item: h5py.Group | h5py.Dataset) -> str:
    kind = item.attrs.get("MATLAB_class", b"")
    return kind.decode() if isinstance(kind, bytes) else str(kind)


def _array(item: h5py.Dataset) -> Any:
    kind = _class(item)
    if item.attrs.get("MATLAB_empty"):
        return _empty(kind, tuple(item[()].astype(int).tolist()))
    values = item[()].T
    if "MATLAB_object_decode" in item.attrs:
        return values if values.dtype == np.uint32 else None
    if kind == "char":
        return strings(values)
    if kind == "logical":
        return values.astype(bool)
    if kind and kind not in _NUMERIC:
        return None
    return values["real"] + 1j * values["imag"] if values.dtype.names == ("real", "imag") else values


def _empty(kind: str, shape: tuple[int, ...]) -> Any:
    if kind == "cell":
        return []
    if kind == "struct":
        return structs_without_fields(shape)
    if kind == "char":
        return ""
    if 0 not in shape:
        raise ValueError(f"an array of shape {shape} that should be empty")
    return np.empty(shape, {"logical": "bool", "single": "f4", "": "f8"}.get(kind, kind if kind in _NUMERIC else "f8"))
