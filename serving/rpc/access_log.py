"""What was asked and how it ended: a line of JSON for each call, and errors of clients in the ordinary log."""

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO

from keras_sare.utils.text import printable

MOST_TEXT = 200
"""Characters of a name that a client chose."""

logger = logging.getLogger(__name__)


class AccessLog:
    """Writes lines of JSON in a thread of its own, so that a slow disk delays no request.

    Args:
        stream: text file to write to; closing it is the caller's.
        most_waiting: lines that wait for a slow disk; any more are dropped, and the next line says how many.
    """

    def __init__(self, stream: IO[str], most_waiting: int = 10_000) -> None:
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(most_waiting)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="access log", daemon=True)
        self._thread.start()

    def write(self, fields: Mapping[str, str | int | float | None]) -> None:
        """Adds a line.

        Args:
            fields: its contents. Control characters in strings are escaped, long ones cut.
        """
        record = {name: _shown(value) for name, value in fields.items()}
        if self._dropped:
            record["dropped_before"] = self._dropped
        try:
            self._lines.put_nowait(json.dumps(record))
        except queue.Full:
            self._dropped += 1
        else:
            self._dropped = 0

    def close(self, timeout: float = 1.0) -> None:
        """Writes what waits.

        Args:
            timeout: seconds to wait.
        """
        try:
            self._lines.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line + "\n")
                if self._lines.empty():
                    self._stream.flush()
            except OSError:
                logger.exception("the access log cannot be written")
        self._stream.flush()


class ClientErrors:
    """Tells errors of clients in the ordinary log, some of them where there are many.

    Args:
        each: that are told in a period.
        seconds: of a period.
        clock: seconds.
    """

    def __init__(self, each: int = 10, seconds: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = each
        self._seconds = seconds
        self._clock = clock
        self._until = clock()
        self._told = 0

    def tell(self, method: str, code: str, text: str) -> None:
        """Logs an error, after the number of those that were not.

        Args:
            method: that failed.
            code: name of the status code.
            text: what the client was told.
        """
        now = self._clock()
        if now >= self._until:
            suppressed = self._told - self._each
            if suppressed > 0:
                logger.info("%d more requests failed, which are not told here", suppressed)
            self._told = 0
            self._until = now + self._seconds
        self._told += 1
        if self._told <= self._each:
            logger.info("%s failed: %s: %s", method, code, printable(text))


def _shown(value: str | int | float | None) -> str | int | float | None:
    if isinstance(value, str):
        return printable(value[:MOST_TEXT])
    return round(value, 6) if isinstance(value, float) else value
