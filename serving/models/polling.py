"""Looks again and again, in a thread of its own."""

import logging
import threading
from collections.abc import Callable

from keras_sare.utils.error_text import one_line

logger = logging.getLogger(__name__)


class Polling:
    """Calls a function every so many seconds until it is stopped. An error is logged and ends nothing.

    Args:
        poll: what to call.
        seconds: between the end of a call and the beginning of the next one.

    Raises:
        ValueError: `seconds` is not positive.
    """

    def __init__(self, poll: Callable[[], None], seconds: float) -> None:
        if not seconds > 0:
            raise ValueError(f"`seconds` must be positive. Received: {seconds=}")
        self._poll = poll
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="polling", daemon=True)

    def start(self) -> None:
        """Begins. The first call comes after `seconds`."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, and waits for a call under way."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        last = ""
        while not self._stopping.wait(self._seconds):
            try:
                self._poll()
                last = ""
            except Exception as error:  # A thread that died would be missed by nobody.
                text = one_line(error)
                if text != last:
                    logger.error("The model folders could not be looked at: %s", text)
                last = text
