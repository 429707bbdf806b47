"""The place index: descriptors, positions and thumbnails of a map in one folder, a Lance dataset and a record."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_sare.localization.calibration import Calibration
from keras_sare.localization.candidates import Candidates
from keras_sare.localization.index_record import IndexRecord
from keras_sare.localization.lance_columns import reader_of
from keras_sare.localization.place_rows import MOST, PlaceRows
from keras_sare.localization.priors.conditions import inside, quoted, taken_between
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.error_text import one_line
from keras_sare.utils.files import atomic_path, lock

if TYPE_CHECKING:
    import lancedb

logger = logging.getLogger(__name__)

_TABLE = "photos"
_LOCK = "writer.lock"
_PROBED = 256
_REFINED = 100
_MOST_REFINED = 2000
"""Stored descriptors that decide about a query at most, or as many as are asked for: they lie in memory together."""
_TOGETHER = 32
_MOST_UNINDEXED = 0.1
_SHOWN = ("name", "heading", "timestamp", "traversal")


class Appended(NamedTuple):
    """What `PlaceIndex.append` did: photos that are new, and photos that replaced those of the same name."""

    added: int
    replaced: int


class PlaceIndex:
    """A place index in a folder.

    Lance commits every change at once as a new version: whoever opens the folder finds the photos before a change or
    after it, also where the writer was killed. One process writes at a time; any number read.

    Args:
        folder: of `create`.

    Raises:
        ImportError: lancedb is not installed.
        FileNotFoundError: the folder is no place index.
        ValueError: a file of it is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.record = IndexRecord.read(self.folder)
        self._table = _open(self.folder)

    @classmethod
    def create(cls, folder: str | Path, record: IndexRecord, batches: Iterable[PlaceRows]) -> "PlaceIndex":
        """Writes a new index. The folder appears whole or not at all.

        Args:
            folder: it must not exist, or be empty.
            record: what is said of it.
            batches: the photos; one batch is in memory at a time. A name that occurs twice is refused.

        Raises:
            ImportError: lancedb is not installed.
            FileExistsError: there is something in the folder.
            ValueError: there is no photo, a name occurs twice, descriptors have another length than `record.dim`, or
                positions are no degrees where `record.kind` says so.
        """
        folder = Path(folder)
        if folder.exists() and any(folder.iterdir()):
            raise FileExistsError(f"`folder` must be new; append to an index instead. Received: folder={str(folder)!r}")
        with atomic_path(folder) as unfinished:
            source = _Source(batches, record)
            with source.errors():
                table = _connect(unfinished).create_table(_TABLE, reader_of(record, source))
            if not table.count_rows():
                raise ValueError("An index must hold one photo at least. Received: none")
            _index_descriptors(table, record)
            record.write(unfinished)
        return cls(folder)

    def __len__(self) -> int:
        return int(self._table.count_rows())

    @property
    def version(self) -> int:
        """Number of the last change."""
        return int(self._table.version)

    def check_model(self, model: str) -> None:
        """Checks that descriptors come from the index's model.

        Args:
            model: its digest.

        Raises:
            ValueError: it is another one.
        """
        if model != self.record.model:
            raise ValueError(
                f"`model` must be the one that the index was built with ({self.record.model_name}, "
                f"{self.record.model[:12]}): descriptors of two models cannot be compared. Received: {model[:12]}"
            )

    def append(self, batches: Iterable[PlaceRows], model: str) -> Appended:
        """Adds photos; those whose names are there already are replaced. All of them, or none where it is broken off.

        Args:
            batches: the photos; one batch is in memory at a time.
            model: digest of the model that their descriptors come from.

        Raises:
            RuntimeError: another process writes to the index.
            ValueError: `model` is another than the index's, or see `create`.
        """
        self.check_model(model)
        self._begin_writing()
        merge = self._table.merge_insert("name").when_matched_update_all().when_not_matched_insert_all()
        source = _Source(batches, self.record)
        with source.errors():
            result = merge.execute(reader_of(self.record, source))
        _index_descriptors(self._table, self.record)
        return Appended(int(result.num_inserted_rows), int(result.num_updated_rows))

    def remove(self, names: Sequence[str]) -> int:
        """Removes photos by their names, all at once. Returns how many were there.

        Raises:
            RuntimeError: another process writes to the index.
        """
        if not names:
            return 0
        self._begin_writing()
        before = len(self)
        self._table.delete(f"name IN ({', '.join(map(quoted, names))})")
        return before - len(self)

    def calibrate(self, calibration: Calibration | None) -> None:
        """Keeps how sure answers are with the index, in place of what was there.

        Raises:
            RuntimeError: another process writes to the index.
        """
        self._begin_writing()
        self.record = self.record.calibrated(calibration)
        self.record.write(self.folder)

    @plain_arguments
    def search(
        self,
        descriptors: np.ndarray,
        k: int = 10,
        box: np.ndarray | None = None,
        minutes: tuple[int, int] | None = None,
    ) -> Candidates:
        """Finds the photos of the index that are most similar.

        Args:
            descriptors: [Q, dim] of norm 1.
            k: candidates per photo.
            box: [2, 2], least and most easting, least and most northing (or latitude, longitude) of candidates; all of
                them by default.
            minutes: first and last minute of the day at which candidates were taken, over midnight where the first is
                later; by default also those that say no time.

        Raises:
            ValueError: shapes do not agree, `k` is not positive, a descriptor is not finite, or a file of the index is
                damaged.
        """
        descriptors = np.asarray(descriptors, np.float32)
        if descriptors.ndim != 2 or descriptors.shape[1] != self.record.dim or not np.isfinite(descriptors).all():
            raise ValueError(
                f"`descriptors` must be [Q, {self.record.dim}] finite numbers. Received: shape={descriptors.shape}"
            )
        if k < 1:
            raise ValueError(f"`k` must be positive. Received: k={k}")
        conditions = [] if box is None else [inside(box, self.record.axes)]
        if minutes is not None:
            conditions.append(taken_between(*minutes))
        condition = " AND ".join(conditions)
        found: list[list[dict[str, Any]]] = [[] for _ in descriptors]
        for start in range(0, len(descriptors), _TOGETHER):
            with _damage(self.folder):
                rows = self._search(descriptors[start : start + _TOGETHER], k, condition)
            for row in rows:
                found[start + row["query_index"]].append(row)
        return Candidates.from_rows(found, k, self.record)

    def thumbnail(self, name: str) -> bytes | None:
        """The thumbnail of a photo, a JPEG file; None where it has none.

        Raises:
            KeyError: there is no such photo.
            ValueError: a file of the index is damaged.
        """
        query = self._table.search().where(f"name = {quoted(name)}").select(["thumbnail"]).limit(1)
        with _damage(self.folder):
            rows = query.to_arrow()
        if not len(rows):
            raise KeyError(name)
        thumbnail: bytes | None = rows["thumbnail"][0].as_py()
        return thumbnail or None

    def names(self, most: int) -> list[str]:
        """Names of `most` of the photos, in no certain order.

        Raises:
            ValueError: a file of the index is damaged.
        """
        with _damage(self.folder):
            names: list[str] = self._table.search().select(["name"]).limit(most).to_arrow()["name"].to_pylist()
        return names

    def positions(self, batch: int = 65_536) -> Iterator[np.ndarray]:
        """Positions of all photos, in no certain order, in batches of at most `batch`: float64 [n, 2].

        Raises:
            ValueError: a file of the index is damaged.
        """
        axes = list(self.record.axes)
        with _damage(self.folder):
            for rows in self._table.search().select(axes).to_batches(batch):
                yield np.stack([rows[axis].to_numpy(zero_copy_only=False) for axis in axes], axis=1)

    def refresh(self) -> None:
        """Takes note of what other processes have written since: photos, and the calibration.

        Raises:
            FileNotFoundError: the folder has gone.
            ValueError: `index.json` is damaged.
        """
        self.record = IndexRecord.read(self.folder)
        self._table.checkout_latest()

    def _begin_writing(self) -> None:
        lock(self.folder / _LOCK)
        self.refresh()

    def _search(self, descriptors: np.ndarray, k: int, condition: str) -> list[dict[str, Any]]:
        # Of a single descriptor the answer does not say which it belongs to.
        alone = len(descriptors) == 1
        query: Any = self._table.search(descriptors[0] if alone else descriptors, vector_column_name="descriptor")
        query = query.distance_type("cosine").limit(k).select([*_SHOWN, *self.record.axes, "_distance"])
        if condition:
            query = query.where(condition, prefilter=True)
        refined = max(1, min(_REFINED, _MOST_REFINED // k))
        # Without an index both settings have no effect: every descriptor is compared.
        rows: list[dict[str, Any]] = query.nprobes(_PROBED).refine_factor(refined).to_arrow().to_pylist()
        return [{"query_index": 0, **row} for row in rows] if alone else rows


def _connect(folder: Path) -> Any:
    try:
        import lancedb
    except ImportError as error:
        raise ImportError('lancedb must be installed: pip install "keras-sare[index]"') from error
    return lancedb.connect(folder)


def _open(folder: Path) -> "lancedb.table.Table":
    connection = _connect(folder)
    with _damage(folder):
        return connection.open_table(_TABLE)


@contextmanager
def _damage(folder: Path) -> Iterator[None]:
    """Says of whatever Lance raises where files are missing or damaged which index it is."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{str(folder)!r} is damaged: {one_line(error)}. Build the index anew") from error


def _index_descriptors(table: "lancedb.table.Table", record: IndexRecord) -> None:
    """Makes or renews the approximate index of a large map. A small map, and what is new since, is searched exactly."""
    from lancedb.index import IvfRq

    if table.count_rows() <= record.exact_rows:
        return
    for index in table.list_indices():
        statistics = table.index_stats(index.name)
        if statistics is not None and statistics.num_unindexed_rows <= _MOST_UNINDEXED * table.count_rows():
            return
    logger.info("Indexing %d descriptors", table.count_rows())
    table.create_index("descriptor", config=IvfRq(distance_type="cosine"), replace=True)


class _Source:
    """Batches on their way into Lance, which turns what they raise into errors of its own."""

    def __init__(self, batches: Iterable[PlaceRows], record: IndexRecord) -> None:
        self._batches = batches
        self._dim = record.dim
        self._most = MOST[record.kind]
        self._names: set[int] = set()
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[PlaceRows]:
        try:
            for batch in self._batches:
                self._check(batch)
                yield batch
        except Exception as error:
            self._error = error
            raise

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raises what the batches raised instead of what Lance made of it."""
        try:
            yield
        except Exception as error:
            raise (self._error or error) from None

    def _check(self, batch: PlaceRows) -> None:
        if batch.descriptors.shape[1] != self._dim:
            raise ValueError(
                f"`descriptors` must be [n, {self._dim}], as those of the index. Received: {batch.descriptors.shape}"
            )
        outside = np.flatnonzero((np.abs(batch.positions) > self._most).any(axis=1))
        if len(outside):
            raise ValueError(
                "`positions` must be latitude in [-90, 90] and longitude in [-180, 180]; are they swapped? Received: "
                f"{batch.positions[outside[0]].tolist()} of {batch.names[outside[0]]!r}"
            )
        # Numbers of 8 bytes instead of the names themselves: two names may share one, once in 10^19.
        numbers = [hash(name) for name in batch.names]
        if not self._names.isdisjoint(numbers):
            name = next(name for name, number in zip(batch.names, numbers, strict=True) if number in self._names)
            raise ValueError(f"`names` must differ: photos are replaced and removed by them. Received: {name!r} twice")
        self._names.update(numbers)
