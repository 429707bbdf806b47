"""Where the time of an epoch goes."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

PARTS = ("frozen_layers", "refresh", "mining", "waiting", "training", "validation", "checkpoints")
"""Output of the frozen layers, which is stored before the first epoch and counts for that, refresh of cached
descriptors, mining, waiting for input, steps, validation, writing of checkpoints."""


class StageTimer:
    """Seconds by part of the work, and altogether.

    Args:
        spent: what was spent on the same epoch before, by an earlier process for example.
    """

    def __init__(self, spent: Mapping[str, float] | None = None) -> None:
        self._seconds = dict.fromkeys((*PARTS, "total"), 0.0) | dict(spent or {})
        self._counted = time.monotonic()

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Counts the time of the block as spent on one of `PARTS`."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._seconds[part] += time.monotonic() - started

    def seconds(self) -> dict[str, float]:
        """Seconds so far: one figure for each of `PARTS`, and `total`, which holds also what is in none of them."""
        now = time.monotonic()
        self._seconds["total"] += now - self._counted
        self._counted = now
        return dict(self._seconds)


def added(seconds: Mapping[str, float], spent: Mapping[str, float]) -> dict[str, float]:
    """Adds what was spent on some of `PARTS` to seconds by part, and to their total."""
    parts = {part: seconds.get(part, 0.0) + spent.get(part, 0.0) for part in {**seconds, **spent}}
    return {**parts, "total": seconds.get("total", 0.0) + sum(spent.values())}
