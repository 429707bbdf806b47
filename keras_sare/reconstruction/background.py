"""Long calls into pycolmap with a progress bar, that can be interrupted."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from keras_sare.datasets.sfm.sfm_pycolmap import quiet_pycolmap
from keras_sare.utils.progress import progress

Result = TypeVar("Result")

_SECONDS_BETWEEN_LOOKS = 0.5


def run_pycolmap(
    call: Callable[[Any, Any], Result], done: Callable[[], int], description: str, unit: str, total: int | None = None
) -> Result:
    """Runs a call of pycolmap in a thread of its own, and shows how far it is.

    Args:
        call: takes the module pycolmap and a `pycolmap.CancellationToken` to hand on, and returns any result.
        done: tells how much is done.
        description: text at the left of the bar.
        unit: name of what is counted.
        total: what `done` comes to at the end, where that is known.

    Returns:
        What `call` returns.

    Raises:
        Exception: what `call` raises.
        KeyboardInterrupt: the user interrupts; the call is told to stop, and has stopped.
    """
    with quiet_pycolmap() as pycolmap, ThreadPoolExecutor(1) as thread:
        token = pycolmap.CancellationToken()
        running = thread.submit(call, pycolmap, token)
        try:
            for _ in progress(_steps(running, done), description, total, unit, size=int):
                pass
        except BaseException:
            token.cancel()
            raise
        return running.result()


def _steps(running: Future[Any], done: Callable[[], int]) -> Iterator[int]:
    """How much more is done at each look."""
    before = 0
    while wait([running], _SECONDS_BETWEEN_LOOKS).not_done:
        now = done()
        yield now - before
        before = now
    yield done() - before
