"""Columns of a Parquet manifest as photos."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_sare.datasets.photo_sources.files import joined
from keras_sare.datasets.photo_sources.source_photo import SourcePhoto

if TYPE_CHECKING:
    import pyarrow as pa

_ALIASES = {
    "id": ("id",),
    "uri": ("uri",),
    "latitude": ("latitude", "lat", "position.latitude"),
    "longitude": ("longitude", "lon", "position.longitude"),
    "easting": ("easting", "position.easting"),
    "northing": ("northing", "position.northing"),
    "heading": ("heading",),
    "time": ("time", "timestamp"),
    "traversal": ("traversal",),
    "sha256": ("sha256",),
}
_AXES = {"degrees": ("latitude", "longitude"), "metres": ("easting", "northing")}
_UNKNOWN = float("nan")


class ManifestColumns:
    """Which columns a manifest has, and what they hold.

    Args:
        schema: of the manifest.
        name: of its file, for messages.

    Attributes:
        kind: of its positions.
        names: of the columns to read, as the file has them.

    Raises:
        ValueError: a column is missing, or cannot be what it is called.
    """

    def __init__(self, schema: "pa.Schema", name: str) -> None:
        fields = {field.name: field for field in _flat(schema)}
        self._columns = {
            meaning: next(alias for alias in aliases if alias in fields)
            for meaning, aliases in _ALIASES.items()
            if fields.keys() & {*aliases}
        }
        kinds = [kind for kind, axes in _AXES.items() if {*axes} <= self._columns.keys()]
        if not {"id", "uri"} <= self._columns.keys() or len(kinds) != 1:
            raise ValueError(
                "A manifest must have the columns id, uri, and either latitude and longitude or easting and northing; "
                f"it may have heading, time, traversal and sha256. Received: {name!r} with {', '.join(fields)[:500]}"
            )
        [self.kind] = kinds
        self.names = sorted({column.partition(".")[0] for column in self._columns.values()})
        wrong = [column for meaning, column in self._columns.items() if not _fits(meaning, fields[column].type)]
        if wrong:
            raise ValueError(
                "A manifest's id and uri must be text, its positions and headings numbers, its time text or a "
                f"timestamp, its sha256 text or 32 bytes. Received: {name!r}, {wrong[0]} of type "
                f"{fields[wrong[0]].type}"
            )

    def photos(self, batch: "pa.RecordBatch", folder: str) -> Iterator[SourcePhoto]:
        """The photos of a part of the file.

        Args:
            batch: with the columns `names`.
            folder: of the manifest, which relative addresses are seen from.
        """
        columns = {field.name: column for field, column in zip(_flat(batch.schema), _flat_columns(batch), strict=True)}
        values = {meaning: _values(meaning, columns[column]) for meaning, column in self._columns.items()}
        unknown: dict[str, Any] = {"heading": _UNKNOWN, "time": "", "traversal": "", "sha256": ""}
        optional = [values.get(meaning) or [empty] * len(batch) for meaning, empty in unknown.items()]
        axes = [values[axis] for axis in _AXES[self.kind]]
        for name, uri, first, second, *known in zip(values["id"], values["uri"], *axes, *optional, strict=True):
            yield SourcePhoto(name, joined(folder, uri) if uri else "", (first, second), *known)

    def ids(self, batch: "pa.RecordBatch") -> list[str]:
        """The ids of a part of the file."""
        return _values("id", batch.column(self.id_column))

    @property
    def id_column(self) -> str:
        """Name of the column of ids."""
        return self._columns["id"]


def _flat(schema: "pa.Schema") -> list["pa.Field"]:
    return [field for one in schema for field in _parts(one)]


def _parts(field: "pa.Field") -> list["pa.Field"]:
    import pyarrow as pa

    return [*field.flatten()] if pa.types.is_struct(field.type) else [field]


def _flat_columns(batch: "pa.RecordBatch") -> list["pa.Array"]:
    import pyarrow as pa

    return [
        part for column in batch.columns for part in (column.flatten() if pa.types.is_struct(column.type) else [column])
    ]


def _fits(meaning: str, kind: "pa.DataType") -> bool:
    import pyarrow as pa

    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()
    is_number = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)
    if meaning in ("uri", "traversal"):
        return is_text
    if meaning == "id":
        return is_text or pa.types.is_integer(kind)
    if meaning == "time":
        return is_text or pa.types.is_timestamp(kind)
    if meaning == "sha256":
        return is_text or kind == pa.binary(32) or pa.types.is_binary(kind)
    return is_number


def _values(meaning: str, column: "pa.Array") -> list[Any]:
    """A column as Python's texts and numbers; what is not there is NaN or an empty text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type):
        column = pc.strftime(column.cast(pa.timestamp("s", column.type.tz), safe=False), "%Y-%m-%dT%H:%M:%S")
    if meaning == "sha256" and not _is_text(column.type):
        return [(one or b"").hex() for one in column.to_pylist()]
    if meaning in ("id", "uri", "time", "traversal", "sha256"):
        return [one or "" for one in column.cast(pa.string()).to_pylist()]
    values: list[float] = column.cast(pa.float64()).to_numpy(zero_copy_only=False).tolist()
    return values


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
