"""Gives memory back to the system that no request uses any more."""

import ctypes
import time
from collections.abc import Callable

IDLE_SECONDS = 10.0


def trim_memory() -> None:
    """Gives free memory of this process back, where the system's allocator can: it would keep it for later requests."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Trimming:
    """Gives memory back once the server has been idle for 10 seconds: what a large request took is not kept for ever.

    Not at once, because a server that is busy would only have to fetch it again.

    Args:
        activity: how many requests have begun so far, and how many are under way.
        trim: gives the memory back.
        clock: seconds.
    """

    def __init__(
        self,
        activity: Callable[[], tuple[int, int]],
        trim: Callable[[], None] = trim_memory,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._activity = activity
        self._trim = trim
        self._clock = clock
        self._seen = activity()
        self._since = clock()
        self._trimmed = True

    def look(self) -> None:
        """Looks whether it is time. To be called every so often."""
        seen = self._activity()
        if seen != self._seen or seen[1]:
            self._seen = seen
            self._since = self._clock()
            self._trimmed = False
        elif not self._trimmed and self._clock() - self._since >= IDLE_SECONDS:
            self._trimmed = True
            self._trim()
