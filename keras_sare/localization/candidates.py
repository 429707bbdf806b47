"""What a search in a place index found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from keras_sare.localization.index_record import IndexRecord


@dataclass(frozen=True, eq=False)
class Candidates:
    """The most similar photos of the index for each of Q photos, in falling order of similarity.

    Attributes:
        names: [Q, k] texts; empty where a photo has fewer candidates.
        scores: float64 [Q, k] cosine similarities; NaN there.
        positions: float64 [Q, k, 2], easting and northing or latitude and longitude; NaN there.
        headings: float64 [Q, k] degrees; NaN where that is not known.
        timestamps: [Q, k] texts, empty where that is not known.
        traversals: [Q, k] texts, empty where there is none.
    """

    names: np.ndarray
    scores: np.ndarray
    positions: np.ndarray
    headings: np.ndarray
    timestamps: np.ndarray
    traversals: np.ndarray

    @classmethod
    def from_rows(cls, found: Sequence[Sequence[Mapping[str, Any]]], k: int, record: IndexRecord) -> "Candidates":
        """Candidates of rows as Lance gives them: for each photo at most `k` mappings of columns to values."""
        shape = (len(found), k)
        texts = {name: np.full(shape, "", np.dtypes.StringDType()) for name in ("name", "timestamp", "traversal")}
        numbers = {name: np.full(shape, np.nan) for name in ("_distance", "heading", *record.axes)}
        for query, rows in enumerate(found):
            # Lance orders by distance; equal ones in no order of its own, so that of their names decides.
            for rank, row in enumerate(sorted(rows, key=lambda row: (row["_distance"], row["name"]))):
                for name, text in texts.items():
                    text[query, rank] = row[name] or ""
                for name, values in numbers.items():
                    values[query, rank] = np.nan if row[name] is None else row[name]
        return cls(
            names=texts["name"],
            scores=1 - numbers["_distance"],
            positions=np.stack([numbers[axis] for axis in record.axes], axis=-1),
            headings=numbers["heading"],
            timestamps=texts["timestamp"],
            traversals=texts["traversal"],
        )

    def first(self, k: int) -> "Candidates":
        """The first `k` of each photo."""
        return Candidates(**{field.name: getattr(self, field.name)[:, :k] for field in fields(self)})

    def subset(self, rows: np.ndarray) -> "Candidates":
        """Those of some photos, in that order."""
        return Candidates(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @classmethod
    def joined(cls, parts: Sequence["Candidates"]) -> "Candidates":
        """Candidates of some photos and then of others."""
        return cls(
            **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)}
        )
