"""The files that a run ends in, by their suffix.

    .npy          float32 [embedded photos, dimension], and their names beside it, one a line, in .txt
    .parquet      columns path, embedding (a list of fixed size, float32) and error; one row for each photo, of which
                  the damaged ones have no embedding and the others no error
    .h5, .hdf5    as hloc reads them: a group for each embedded photo, named as the photo, with the dataset
                  `global_descriptor`; a photo that was named twice is there once

Damaged photos are left out of .npy and HDF5 files, and named with the reason in NAME.errors.csv beside them.
"""

import csv
import importlib
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np

from keras_sare.utils.files import atomic_path, check_writable_file
from serving.client.store import Store

_CHUNK_BYTES = 2**24
Row = tuple[str, np.ndarray | None, str]
"""Name of a photo, its embedding, and its error where it has none."""


def check_output(output: str) -> Path:
    """Checks that a file can be written before anything is embedded for it, and returns its path.

    Raises:
        ValueError: its suffix is none of those above.
        OSError: it cannot be written.
        ImportError: the package for files of this kind is missing.
    """
    path = Path(output)
    if path.suffix not in _WRITERS:
        raise ValueError(
            f"`output` must be a file that ends in {', '.join(_WRITERS)}; name another. Received: output={output!r}"
        )
    package = _PACKAGES.get(path.suffix)
    if package is not None:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ImportError(f"`output` {output!r} needs {package}: pip install {package}") from error
    try:
        check_writable_file(path)
    except OSError as error:
        raise type(error)(
            f"`output` must be a file in a folder that can be written; name another. Received: output={output!r}, "
            f"which fails with: {error}"
        ) from error
    return path


def errors_beside(output: Path) -> Path:
    """The file that names damaged photos, with the reason."""
    return output.with_suffix(".errors.csv")


def write_output(output: Path, names: Iterable[str], store: Store) -> None:
    """Puts a finished run in its place. Where it is broken off, it can be called again.

    Args:
        output: the file; one that is there is replaced.
        names: of all photos of the run.
        store: of the run, finished, with an embedding at least.
    """
    _WRITERS[output.suffix](output, names, store)


def write_errors(output: Path, names: Iterable[str], store: Store) -> None:
    """Names the photos of a finished run that have no embedding in a table beside its output; deletes one of before."""
    path = errors_beside(output)
    if next(store.errors(), None) is None:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary, _text_file(temporary) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["path", "error"])
        table.writerows([name, error] for name, error in _named(names, store) if error)


def _write_npy(output: Path, names: Iterable[str], store: Store) -> None:
    with atomic_path(output.with_suffix(".txt")) as temporary, _text_file(temporary) as file:
        file.writelines(f"{name}\n" for name, error in _named(names, store) if not error)
    write_errors(output, names, store)
    os.replace(store.data, output)


def _write_parquet(output: Path, names: Iterable[str], store: Store) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    kind = pa.list_(pa.float32(), store.dimension)
    schema = pa.schema([("path", pa.string()), ("embedding", kind), ("error", pa.string())])
    rows = _rows(names, store)
    nothing = np.zeros(store.dimension, np.float32)
    with (
        atomic_path(output) as temporary,
        pyarrow.parquet.ParquetWriter(temporary, schema, use_dictionary=False) as writer,
    ):
        while chunk := list(islice(rows, max(1, _CHUNK_BYTES // (4 * store.dimension)))):
            values = np.concatenate([nothing if embedding is None else embedding for _, embedding, _ in chunk])
            missing = pa.array([embedding is None for _, embedding, _ in chunk])
            embeddings = pa.FixedSizeListArray.from_arrays(pa.array(values), type=kind, mask=missing)
            paths = [_unicode(name) for name, _, _ in chunk]
            errors = pa.array([error or None for _, _, error in chunk], pa.string())
            writer.write_table(pa.table([pa.array(paths), embeddings, errors], schema))


def _write_hdf5(output: Path, names: Iterable[str], store: Store) -> None:
    import h5py

    with atomic_path(output) as temporary, h5py.File(temporary, "w") as file:
        for name, embedding, _ in _rows(names, store):
            if embedding is None:
                continue
            group = file.require_group(_unicode(os.path.normpath(name)).lstrip("/"))
            if "global_descriptor" not in group:
                group.create_dataset("global_descriptor", data=embedding)
    write_errors(output, names, store)


_WRITERS: dict[str, Callable[[Path, Iterable[str], Store], None]] = {
    ".npy": _write_npy,
    ".parquet": _write_parquet,
    ".h5": _write_hdf5,
    ".hdf5": _write_hdf5,
}
_PACKAGES = {".parquet": "pyarrow", ".h5": "h5py", ".hdf5": "h5py"}


def _text_file(path: Path) -> IO[str]:
    return open(path, "w", encoding="utf-8", errors="surrogateescape", newline="")


def _unicode(name: str) -> str:
    """A name in which bytes that are no text are written as `\\xff`: these files take nothing else."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _named(names: Iterable[str], store: Store) -> Iterator[tuple[str, str]]:
    """Name and error of each photo; the error is empty where there is none."""
    errors = store.errors()
    following = next(errors, None)
    for index, name in enumerate(names):
        if following is not None and following[0] == index:
            yield name, following[1]
            following = next(errors, None)
        else:
            yield name, ""


def _rows(names: Iterable[str], store: Store) -> Iterator[Row]:
    embeddings = store.embeddings()
    for name, error in _named(names, store):
        yield name, None if error else next(embeddings), error
