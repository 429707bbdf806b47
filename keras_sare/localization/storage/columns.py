"""Photos of a place index as columns of Apache Arrow, which Lance stores."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_sare.localization.index_record import IndexRecord
from keras_sare.localization.place_rows import PlaceRows

if TYPE_CHECKING:
    import pyarrow as pa


def schema_of(record: IndexRecord) -> "pa.Schema":
    """Columns of an index: name, descriptor (float16), the two axes of its positions, and what else is known."""
    import pyarrow as pa

    return pa.schema(
        [
            ("name", pa.string()),
            ("descriptor", pa.list_(pa.float16(), record.dim)),
            *((axis, pa.float64()) for axis in record.axes),
            ("heading", pa.float32()),
            ("timestamp", pa.string()),
            ("traversal", pa.string()),
            ("thumbnail", pa.large_binary()),
        ]
    )


def reader_of(record: IndexRecord, batches: Iterable[PlaceRows]) -> "pa.RecordBatchReader":
    """Photos batch by batch, as Lance takes them. Descriptors have the length that the record says."""
    import pyarrow as pa

    schema = schema_of(record)
    return pa.RecordBatchReader.from_batches(schema, (_columns(record, schema, batch) for batch in batches))


def _columns(record: IndexRecord, schema: "pa.Schema", batch: PlaceRows) -> "pa.RecordBatch":
    import pyarrow as pa

    count = len(batch)
    descriptors = np.ascontiguousarray(batch.descriptors, np.float16).reshape(-1)
    headings = np.full(count, np.nan) if batch.headings is None else batch.headings
    columns = [
        pa.array([*batch.names], pa.string()),
        pa.FixedSizeListArray.from_arrays(pa.array(descriptors), record.dim),
        *(pa.array(axis, pa.float64()) for axis in batch.positions.T),
        pa.array(np.asarray(headings, np.float32)),
        pa.array(_or_nothing(batch.timestamps, count), pa.string()),
        pa.array(_or_nothing(batch.traversals, count), pa.string()),
        pa.array(_or_nothing(batch.thumbnails, count), pa.large_binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _or_nothing(values: Iterable[Any] | None, count: int) -> list[Any]:
    return [None] * count if values is None else [*values]
