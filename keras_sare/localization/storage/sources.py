"""Batches of photos on their way into a place index, checked."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from keras_sare.localization.index_record import IndexRecord
from keras_sare.localization.place_rows import MOST, PlaceRows


class Names:
    """Names that are there already, as numbers of 8 bytes: two names may share one, once in 10^19.

    Args:
        batches: of names.
    """

    def __init__(self, batches: Iterable[Sequence[str]] = ()) -> None:
        numbers = [_numbers(batch) for batch in batches]
        self._numbers = np.sort(np.concatenate([np.zeros(0, np.int64), *numbers]))

    def among(self, names: Sequence[str]) -> list[str]:
        """Those of some names that are there."""
        if not len(self._numbers):
            return []
        numbers = _numbers(names)
        places = np.minimum(np.searchsorted(self._numbers, numbers), len(self._numbers) - 1)
        return [names[place] for place in np.flatnonzero(self._numbers[places] == numbers).tolist()]

    def check_new(self, names: Sequence[str]) -> None:
        """Checks that none of some names is there.

        Raises:
            ValueError: some are.
        """
        there = self.among(names)
        if there:
            raise ValueError(
                "`names` must be new to the index: replace the photos that are there (--replace), or put a name before "
                f"these (--name_prefix=NAME/). Received: {len(names)} names, of which {len(there)} are there, such as "
                f"{there[0]!r}"
            )


class Source:
    """Batches on their way into Lance, which turns what they raise into errors of its own.

    Args:
        batches: of photos.
        record: of the index.
        taken: names that they must not have.
    """

    def __init__(self, batches: Iterable[PlaceRows], record: IndexRecord, taken: Names | None = None) -> None:
        self._batches = batches
        self._dim = record.dim
        self._most = MOST[record.kind]
        self._taken = taken or Names()
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
        numbers = _numbers(batch.names).tolist()
        if not self._names.isdisjoint(numbers):
            name = next(name for name, number in zip(batch.names, numbers, strict=True) if number in self._names)
            raise ValueError(f"`names` must differ: photos are replaced and removed by them. Received: {name!r} twice")
        self._names.update(numbers)
        self._taken.check_new(batch.names)


def _numbers(names: Sequence[str]) -> np.ndarray:
    return np.fromiter((hash(name) for name in names), np.int64, len(names))
