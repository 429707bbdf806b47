"""The place index: descriptors, positions and thumbnails of a map in one folder, a Lance dataset and a record."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from keras_sare.localization.calibration import Calibration
from keras_sare.localization.candidates import Candidates
from keras_sare.localization.index_record import IndexRecord
from keras_sare.localization.place_rows import PlaceRows
from keras_sare.localization.priors.conditions import inside, quoted, taken_between
from keras_sare.localization.storage.columns import reader_of
from keras_sare.localization.storage.sources import Names, Source
from keras_sare.localization.storage.tables import TABLE, connect, open_table, told_of
from keras_sare.localization.storage.upkeep import forget_versions, index_columns
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.files import atomic_path, lock

T = TypeVar("T")

_LOCK = "writer.lock"
_PROBED = 256
_REFINED = 100
_MOST_REFINED = 2000
"""Stored descriptors that decide about a query at most, or as many as are asked for: they lie in memory together."""
_TOGETHER = 32
_NAMES = 65_536
_SHOWN = ("name", "heading", "timestamp", "traversal")


class Appended(NamedTuple):
    """What `PlaceIndex.append` did: photos that are new, and photos that replaced those of the same name."""

    added: int
    replaced: int


class PlaceIndex:
    """A place index in a folder.

    Lance commits every change at once as a new version: whoever opens the folder finds the photos before a change or
    after it, also where the writer was killed. One process writes at a time; any number read. A version that another
    took the place of stays for a day at least; who has read it longer reads the newest then.

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
        self._table = open_table(self.folder)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        record: IndexRecord,
        batches: Iterable[PlaceRows],
        beside: Callable[[Path], None] | None = None,
    ) -> "PlaceIndex":
        """Writes a new index. The folder appears whole or not at all.

        Args:
            folder: it must not exist, or be empty.
            record: what is said of it.
            batches: the photos; one batch is in memory at a time. A name that occurs twice is refused.
            beside: writes further files into the folder, which appear with it; more photos are to come then, and
                `index` is to be called after the last.

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
            source = Source(batches, record)
            with source.errors():
                table = connect(unfinished).create_table(TABLE, reader_of(record, source))
            if not table.count_rows():
                raise ValueError("An index must hold one photo at least. Received: none")
            record.write(unfinished)
            if beside is None:
                index_columns(table, record)
            else:
                beside(unfinished)
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

    def check_new(self, names: Sequence[str]) -> None:
        """Checks that no photo of the index has one of some names, before their descriptors are extracted.

        Raises:
            ValueError: some have.
        """
        self._names_there().check_new(names)

    def append(self, batches: Iterable[PlaceRows], model: str, replace: bool = False) -> Appended:
        """Adds photos. All of them, or none where it is broken off.

        Args:
            batches: the photos; one batch is in memory at a time.
            model: digest of the model that their descriptors come from.
            replace: whether photos may take the place of those of the same names.

        Raises:
            RuntimeError: another process writes to the index.
            ValueError: `model` is another than the index's, names are there already, or see `create`.
        """
        self.check_model(model)
        self._begin_writing()
        source = Source(batches, self.record, None if replace else self._names_there())
        merge = self._table.merge_insert("name").when_matched_update_all().when_not_matched_insert_all()
        with source.errors():
            result = merge.execute(reader_of(self.record, source))
        self._end_writing()
        return Appended(int(result.num_inserted_rows), int(result.num_updated_rows))

    def extend(self, batches: Iterable[PlaceRows], model: str) -> None:
        """Adds photos whose names are known to be new, all of them or none; `index` is to be called after the last.

        What `append` does besides takes longer the larger the index is: it compares names, and indexes columns anew.

        Args:
            batches: see `append`, and so for `model` and what is raised.
            model: see `batches`.
        """
        self.check_model(model)
        self._begin_writing()
        source = Source(batches, self.record)
        with source.errors():
            self._table.add(reader_of(self.record, source))

    def index(self) -> None:
        """Makes the index of a large map, or makes it anew where many photos are new since.

        Raises:
            RuntimeError: another process writes to the index.
        """
        self._begin_writing()
        self._end_writing()

    def holds(self, name: str) -> bool:
        """Whether there is a photo of that name.

        Raises:
            ValueError, OSError: see `search`.
        """
        return bool(self._read(lambda: self._table.count_rows(f"name = {quoted(name)}")))

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
        removed = before - len(self)
        self._end_writing()
        return removed

    def calibrate(self, *calibrations: Calibration) -> None:
        """Keeps how sure answers are with the index, all at once.

        Args:
            calibrations: each in place of the one that was there of the same kind of answers; without any, what was
                there is removed.

        Raises:
            ValueError: they were made of different numbers of candidates.
            RuntimeError: another process writes to the index.
        """
        self._begin_writing()
        self.record = self.record.calibrated(*calibrations)
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
            ValueError: shapes do not agree, `k` is not positive, or a descriptor is not finite.
            DamagedIndexError: a file of the index is missing or damaged; it is a ValueError.
            OSError: the folder has gone, or the system refuses a file.
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
            part = descriptors[start : start + _TOGETHER]
            for row in self._read(partial(self._search, part, k, condition)):
                found[start + row["query_index"]].append(row)
        return Candidates.from_rows(found, k, self.record)

    def thumbnail(self, name: str) -> bytes | None:
        """The thumbnail of a photo, a JPEG file; None where it has none.

        Raises:
            KeyError: there is no such photo.
            ValueError, OSError: see `search`.
        """
        condition = f"name = {quoted(name)}"
        rows = self._read(lambda: self._table.search().where(condition).select(["thumbnail"]).limit(1).to_arrow())
        if not len(rows):
            raise KeyError(name)
        thumbnail: bytes | None = rows["thumbnail"][0].as_py()
        return thumbnail or None

    def names(self, most: int) -> list[str]:
        """Names of `most` of the photos, in no certain order.

        Raises:
            ValueError, OSError: see `search`.
        """
        rows = self._read(lambda: self._table.search().select(["name"]).limit(most).to_arrow())
        names: list[str] = rows["name"].to_pylist()
        return names

    def positions(self, batch: int = 65_536) -> Iterator[np.ndarray]:
        """Positions of all photos, in no certain order, in batches of at most `batch`: float64 [n, 2].

        Raises:
            ValueError, OSError: see `search`.
        """
        axes = list(self.record.axes)
        with told_of(self.folder):
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

    def _end_writing(self) -> None:
        index_columns(self._table, self.record)
        forget_versions(self._table, self.record)

    def _names_there(self) -> Names:
        with told_of(self.folder):
            batches = self._table.search().select(["name"]).to_batches(_NAMES)
            return Names(batch["name"].to_pylist() for batch in batches)

    def _read(self, ask: Callable[[], T]) -> T:
        """Asks the version that is open; where its files have been removed, the newest."""
        with told_of(self.folder):
            version = self.version
            try:
                return ask()
            except RuntimeError:
                self._table.checkout_latest()
                if self.version == version:
                    raise
                return ask()

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
