"""How requests are sent: how large, how many at once, how long, and how often again."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

MAX_BYTES = 60 * 2**20
"""Of the photos in a request, by default: servers of this package take messages of 64 MiB."""

_LONGEST_EXPONENT = 60


@dataclass(frozen=True)
class RequestSettings:
    """How a client sends its requests.

    Attributes:
        max_bytes: bytes of the photos in one request. A file that is larger is not read.
        concurrency: requests under way at the same time; as many again are prepared.
        retries: how often a request is sent again that a server could not take: UNAVAILABLE,
            RESOURCE_EXHAUSTED, or CANCELLED by its end.
        first_wait: seconds before the first of these. Each further wait is twice as long; all are shortened by up to a
            half at random, so that many clients do not come back at once.
        longest_wait: seconds that a wait grows to.
        deadline: seconds that all requests of one call of the client may take together.
        version: of the model that is asked for; None for the newest.
        random: draws from [0, 1), for the waits.
        clock: tells the seconds that deadlines are measured by.
        sleep: waits for some seconds; None for a wait that ends early where the client gives up.

    Raises:
        ValueError: a number is out of its range.
    """

    max_bytes: int = MAX_BYTES
    concurrency: int = 2
    retries: int = 8
    first_wait: float = 0.25
    longest_wait: float = 10.0
    deadline: float = math.inf
    version: int | None = None
    random: Callable[[], float] = random.random
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] | None = None

    def __post_init__(self) -> None:
        for name, least in (("max_bytes", 1), ("concurrency", 1), ("retries", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}. Received: {name}={getattr(self, name)}")
        for name in ("first_wait", "longest_wait", "deadline"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive. Received: {name}={getattr(self, name)}")

    def wait(self, failures: int) -> float:
        """Seconds to wait after so many failures, at least 1, of a request."""
        longest = min(self.first_wait * 2 ** min(failures - 1, _LONGEST_EXPONENT), self.longest_wait)
        return longest * (0.5 + 0.5 * self.random())


class Deadline:
    """A time by which all has to be done.

    Args:
        settings: with the seconds until then, and the clock.
    """

    def __init__(self, settings: RequestSettings) -> None:
        self._settings = settings
        self._end = settings.clock() + settings.deadline

    def limited(self, timeout: float) -> float:
        """The seconds that a request may take which is sent now.

        Args:
            timeout: seconds that it may take where there is time enough.

        Raises:
            TimeoutError: the time is over.
        """
        left = self._end - self._settings.clock()
        if left <= 0:
            self._raise()
        return min(timeout, left)

    def check_wait(self, seconds: float) -> None:
        """Raises TimeoutError where the time would be over after a wait."""
        if self._settings.clock() + seconds >= self._end:
            self._raise()

    def _raise(self) -> None:
        raise TimeoutError(
            f"All requests must end within `deadline` seconds; raise it. Received: deadline={self._settings.deadline:g}"
        )
