"""Descriptors that lie on the disk: .npy with the images' names beside it, or HDF5 files as hloc writes them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import h5py
import numpy as np

from serving.descriptors.descriptor_model import DescriptorModel, Rows
from serving.descriptors.resumable import file_state

SUFFIXES = (".npy", ".h5", ".hdf5")
_HLOC = "global_descriptor"
_NORM_TOLERANCE = 1e-2


@dataclass(frozen=True, eq=False)
class StoredDescriptors(DescriptorModel):
    """Descriptors by the name of their image.

    Attributes:
        path: the file, for messages.
        rows: row of each image, or what else finds its descriptor, by its name.
        read: gives the descriptor of one of `rows`, [dim].
    """

    path: Path = field(kw_only=True)
    rows: Mapping[str, int | str] = field(kw_only=True)
    read: Callable[[int | str], np.ndarray] = field(kw_only=True)

    @classmethod
    def open(cls, path: Path) -> "StoredDescriptors":
        """Opens a file of `SUFFIXES`, without reading descriptors.

        Raises:
            FileNotFoundError: there is no such file, or no names beside a .npy file.
            ValueError: it is damaged, or does not hold one descriptor for each name.
        """
        if not path.is_file():
            raise FileNotFoundError(f"`models` must name existing files. Received: {str(path)!r}")
        rows, read = _open_npy(path) if path.suffix == ".npy" else _open_hdf5(path)
        identity = f"{path.absolute()} {file_state(path)}"
        return cls(path.stem, identity, None, path=path, rows=rows, read=read)

    def extract(self, paths: np.ndarray, batch_size: int, out: Rows) -> None:
        """See `DescriptorModel.extract`. Images are found by their path, or as much of its end as the names have."""
        rows = self._rows_of(paths.tolist())
        dim = None
        for start in range(0, len(rows), batch_size):
            indices = np.arange(start, min(start + batch_size, len(rows)))
            found = []
            for index in indices:
                found.append(self._checked(str(paths[index]), self.read(rows[index]), dim))
                dim = len(found[0])
            out[indices] = np.stack(found)

    def _rows_of(self, paths: list[str]) -> list[int | str]:
        names = [self._name(path) for path in paths]
        missing = [path for path, name in zip(paths, names, strict=True) if name is None]
        if missing:
            raise ValueError(
                f"`models` must have a descriptor of every image: {str(self.path)!r} has none of {len(missing)} of "
                f"{len(paths)}, for example of {missing[0]!r}. Its {len(self.rows)} names begin with "
                f"{next(iter(self.rows), None)!r}"
            )
        taken: dict[str | None, str] = {}
        for path, name in zip(paths, names, strict=True):
            if taken.setdefault(name, path) != path:
                raise ValueError(
                    f"Names of descriptors must tell images apart, with as much of the path as that takes. Received: "
                    f"{str(self.path)!r}, whose {name!r} may be {taken[name]!r} or {path!r}"
                )
        return [self.rows[str(name)] for name in names]

    def _name(self, path: str) -> str | None:
        """The longest name that the path is, or ends with."""
        parts = PurePosixPath(path).parts
        ends = (str(PurePosixPath(*parts[start:])) for start in range(len(parts)))
        return next((end for end in ends if end in self.rows), None)

    def _checked(self, image: str, descriptor: np.ndarray, dim: int | None) -> np.ndarray:
        values = np.asarray(descriptor, np.float32).reshape(-1)
        norm = float(np.linalg.norm(values))
        if (dim is not None and len(values) != dim) or not abs(norm - 1) <= _NORM_TOLERANCE:
            raise ValueError(
                "Stored descriptors must have one length and norm 1: normalise them, or extract them anew. Received: "
                f"{str(self.path)!r}, of {image!r}: {len(values)} numbers, norm {norm:.4g}"
                f"{f', after others of {dim} numbers' if dim else ''}"
            )
        return values


def _open_npy(path: Path) -> tuple[dict[str, int | str], Callable[[int | str], np.ndarray]]:
    names = path.with_suffix(".txt")
    if not names.is_file():
        raise FileNotFoundError(
            f"{str(path)!r} must have the names of its images beside it, one a line, in {names.name}, as the client "
            "writes them. Received: no such file"
        )
    try:
        descriptors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{str(path)!r} must be a .npy file of numbers. Received: {error}") from error
    lines = names.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    if descriptors.ndim != 2 or descriptors.dtype.kind != "f" or len(descriptors) != len(lines):
        raise ValueError(
            f"{str(path)!r} must hold numbers [images, dim], one row for each line of {names.name}. Received: "
            f"{descriptors.dtype} {descriptors.shape}, {len(lines)} lines"
        )
    return _unique(path, lines, range(len(lines))), lambda row: descriptors[row]


def _open_hdf5(path: Path) -> tuple[dict[str, int | str], Callable[[int | str], np.ndarray]]:
    try:
        file = h5py.File(path)
    except OSError as error:
        raise ValueError(f"{str(path)!r} must be an HDF5 file. Received: {error}") from error
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Group) and _HLOC in item else None)
    if not names:
        raise ValueError(
            f"{str(path)!r} must hold a group for each image with the dataset {_HLOC!r}, as hloc writes it. Received: "
            f"none, but {', '.join(list(file)[:3]) or 'nothing'}"
        )
    return _unique(path, names, names), lambda name: file[str(name)][_HLOC][()]


def _unique(path: Path, names: Iterable[str], rows: Iterable[int | str]) -> dict[str, int | str]:
    found: dict[str, int | str] = {}
    for name, row in zip(names, rows, strict=True):
        plain = str(PurePosixPath(name))
        if plain in found:
            raise ValueError(f"{str(path)!r} must name every image once. Received: {name!r} twice")
        found[plain] = row
    return found
