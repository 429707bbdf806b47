"""The event loop on which gRPC serves: one for all servers of the process, in a thread of its own."""

import asyncio
import functools
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
    """Runs a coroutine on the loop and waits for its result; called from any other thread.

    Args:
        coroutine: what to run.
        timeout: seconds to wait; None for ever.

    Raises:
        TimeoutError: it did not end in time; it goes on.
    """
    return asyncio.run_coroutine_threadsafe(coroutine, _loop()).result(timeout)


# gRPC polls from one loop alone: with several in a process they take each other's events.
@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="grpc", daemon=True).start()
    return loop
