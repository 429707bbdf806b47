"""The photos of Parquet manifests."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from keras_sare.datasets.photo_sources.files import file_size, open_file
from keras_sare.datasets.photo_sources.manifest_columns import ManifestColumns
from keras_sare.datasets.photo_sources.photo_source import Cursor, Listed
from keras_sare.datasets.photo_sources.unique_names import check_unique
from keras_sare.utils.error_text import one_line

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_ROWS = 4096
_MOST_METADATA = 100_000_000
MOST_ROW_GROUP = 1 << 30
"""Bytes of one, unpacked."""


class ManifestPhotos:
    """Photos of one manifest or several of the same columns, row group by row group.

    Args:
        files: paths or addresses, in order.

    Raises:
        ImportError: pyarrow is not installed.
        OSError: a file cannot be read.
        ValueError: a file is no Parquet file, misses a column, or has row groups that are too large.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._files = [*files]
        self._rows: list[int] = []
        kinds = set()
        for file in self._files:
            with _Parquet(file) as parquet:
                kinds.add(ManifestColumns(parquet.schema_arrow, file).kind)
                self._rows.append(parquet.metadata.num_rows)
                _check_row_groups(parquet, file)
        if len(kinds) > 1:
            raise ValueError(f"All manifests must give degrees, or all metres. Received: both, in {len(files)} files")
        [self.kind] = kinds

    def photos(self, start: Cursor = ()) -> Iterator[Listed]:
        """See `PhotoSource.photos`."""
        first, skipped = (int(start[0]), int(start[1])) if start else (0, 0)
        for number in range(first, len(self._files)):
            yield from self._of_file(number, skipped if number == first else 0)

    def count(self) -> int:
        """See `PhotoSource.count`."""
        return sum(self._rows)

    def state(self) -> dict[str, Any]:
        """See `PhotoSource.state`."""
        return {"rows": self.count(), "bytes": sum(map(file_size, self._files))}

    def check_names(self, memory: float) -> None:
        """See `PhotoSource.check_names`."""
        check_unique(lambda: chain.from_iterable(self._ids()), self.count(), memory)

    def _ids(self) -> Iterator[list[str]]:
        for file in self._files:
            with _Parquet(file) as parquet:
                columns = ManifestColumns(parquet.schema_arrow, file)
                for batch in parquet.iter_batches(_ROWS, columns=[columns.id_column]):
                    yield columns.ids(batch)

    def _of_file(self, number: int, skipped: int) -> Iterator[Listed]:
        file = self._files[number]
        with _Parquet(file) as parquet:
            columns = ManifestColumns(parquet.schema_arrow, file)
            groups, row = _groups_from(parquet, skipped)
            for batch in parquet.iter_batches(_ROWS, row_groups=groups, columns=columns.names):
                if row + len(batch) > skipped:
                    rest = batch.slice(max(skipped - row, 0))
                    for place, photo in enumerate(columns.photos(rest, file.rpartition("/")[0]), max(skipped, row) + 1):
                        yield Listed(photo, [number, place])
                row += len(batch)


class _Parquet:
    """A Parquet file that is closed in the end, and whose errors name it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> "pq.ParquetFile":
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise ImportError('Manifests need pyarrow: pip install "keras-sare[extract]"') from error
        self._file = open_file(self._name)
        limits = {"thrift_string_size_limit": _MOST_METADATA, "thrift_container_size_limit": _MOST_METADATA // 10}
        try:
            return pq.ParquetFile(self._file, **limits)
        except (pa.ArrowException, OSError) as error:
            self._file.close()
            raise ValueError(f"{self._name!r} must be a Parquet file. Received: {one_line(error)}") from error

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._file.close()
        if isinstance(error, OSError | ValueError):
            raise ValueError(f"{self._name!r} is damaged: {one_line(error)}") from error


def _check_row_groups(parquet: "pq.ParquetFile", name: str) -> None:
    metadata = parquet.metadata
    largest = max((metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)), default=0)
    if largest > MOST_ROW_GROUP:
        raise ValueError(
            f"A manifest's row groups must have at most {MOST_ROW_GROUP} bytes; write it with smaller ones. "
            f"Received: {name!r}, one of {largest} bytes"
        )


def _groups_from(parquet: "pq.ParquetFile", skipped: int) -> tuple[list[int], int]:
    """Row groups that hold rows from `skipped` on, and the number of the first row of the first of them."""
    row = 0
    for group in range(parquet.metadata.num_row_groups):
        rows = parquet.metadata.row_group(group).num_rows
        if row + rows > skipped:
            return [*range(group, parquet.metadata.num_row_groups)], row
        row += rows
    return [], row
