"""MATLAB files of version 7.3: HDF5 with MATLAB's conventions.

Dimensions are stored in reverse. A cell array is an array of references, a struct is a group, an array of structs is a
group of arrays of references, text is uint16, an empty array stores its dimensions, and each says so in its attributes.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from keras_sare.models.interchange.matlab_v5 import strings, structs_without_fields

_NUMERIC = ("double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))


def read_v73(path: Path, names: list[str] | None) -> tuple[dict[str, Any], list[Any] | None]:
    """Reads variables of a file.

    Args:
        path: the file.
        names: which variables; None for all.

    Returns:
        Variables by name (see `keras_sare.models.interchange.matlab_file.read_matlab`; references to objects are not
        resolved yet) and the cells of the object table, None where there is none.

    Raises:
        OSError: the file is cut or damaged.
    """
    with h5py.File(path, "r") as file:
        # MATLAB keeps what cells and objects refer to in groups whose names start with a hash.
        wanted = [name for name in file if not name.startswith("#") and (names is None or name in names)]
        table = _convert(file["#subsystem#/MCOS"]) if "#subsystem#/MCOS" in file else None
        return {name: _convert(file[name]) for name in wanted}, table


def _convert(item: h5py.Group | h5py.Dataset) -> Any:
    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if isinstance(item, h5py.Group):
        return _struct(item) if kind in ("struct", "") and "MATLAB_sparse" not in item.attrs else None
    if item.attrs.get("MATLAB_empty"):
        return _empty(kind, tuple(item[()].astype(int).tolist()))
    if item.dtype == h5py.ref_dtype:
        return [_convert(item.file[reference]) for reference in item[()].ravel()]
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


def _struct(group: h5py.Group) -> Any:
    fields = {name: _convert(item) for name, item in group.items()}
    # In an array of structs, and only there, the arrays of references carry no class.
    if fields and all("MATLAB_class" not in item.attrs for item in group.values()):
        columns = zip(*fields.values(), strict=True)
        return [dict(zip(fields, values, strict=True)) for values in columns]
    return fields


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
