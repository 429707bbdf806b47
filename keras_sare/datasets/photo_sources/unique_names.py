"""Whether names differ, of more than fit into memory."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np

_BYTES = 32
"""A name takes while it is compared: its number, and what sorting copies."""
_TOGETHER = 65_536


def check_unique(names: Callable[[], Iterable[str]], count: int, memory: float) -> None:
    """Checks that no two names are equal. With little memory it goes through them several times.

    Args:
        names: gives all of them, each time that it is called.
        count: how many there are.
        memory: bytes to use.

    Raises:
        ValueError: two are equal.
    """
    passes = max(1, -int(-_BYTES * count // max(memory, 1)))
    for number in range(passes):
        found = np.sort(np.concatenate([np.zeros(0, np.int64), *_hashes(names(), number, passes)]))
        twice = found[:-1][found[1:] == found[:-1]]
        if len(twice):
            _name_first({*twice.tolist()}, names())


def _hashes(names: Iterable[str], number: int, passes: int) -> Iterator[np.ndarray]:
    rest = iter(names)
    while some := list(islice(rest, _TOGETHER)):
        hashes = np.fromiter(map(hash, some), np.int64, len(some))
        yield hashes[hashes % passes == number]


def _name_first(hashes: set[int], names: Iterable[str]) -> None:
    """Tells the first name that is there twice: two different ones may share a hash, once in 10^19."""
    seen: set[str] = set()
    for name in names:
        if hash(name) not in hashes:
            continue
        if name in seen:
            raise ValueError(
                f"Ids must differ: photos are replaced and removed by them. Received: {name[:200]!r} twice"
            )
        seen.add(name)
