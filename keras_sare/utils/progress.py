"""Progress bars that follow the logging level."""

import logging
import operator
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm.auto import tqdm

from keras_sare.utils.text import PrintableMessages

logger = logging.getLogger("keras_sare")
Item = TypeVar("Item")


def show_information() -> logging.Logger:
    """For programs: shows this project's messages and progress bars; other libraries stay at warnings.

    What a terminal would take for commands, as a file's name may hold, is escaped in all messages.

    Where debugging information is asked for, as with --verbosity=1, it stays so.

    Returns:
        The logger for the program's own messages.
    """
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
    for handler in logging.getLogger().handlers:
        if not any(isinstance(one, PrintableMessages) for one in handler.filters):
            handler.addFilter(PrintableMessages())
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # It tells what of itself it loads.
    return logger


def progress(
    items: Iterable[Item],
    description: str,
    total: int | None = None,
    unit: str = "it",
    size: Callable[[Item], int] = lambda _: 1,
    done: int = 0,
) -> Iterator[Item]:
    """Iterates over `items` and shows a bar when the `keras_sare` logger is enabled for INFO.

    The library itself never prints: a program that asks for INFO messages sees bars, any other sees nothing. On
    a standard error that is not a terminal the bar is refreshed every ten seconds, which keeps log files short. A
    single item gets no bar.

    Args:
        items: what to iterate over.
        description: text at the left of the bar.
        total: sum of the sizes, where `items` has no length, or one that is not the sum.
        unit: name of what is counted.
        size: how much an item counts.
        done: of `total`, what an earlier start has done.
    """
    interactive = sys.stderr.isatty()
    if total is None:
        # A dataset of unknown length has a `__len__` that raises TypeError: that is no length either.
        total = operator.length_hint(items) or None
    with tqdm(
        desc=description,
        total=total,
        initial=done,
        unit=unit,
        disable=total == 1 or not logger.isEnabledFor(logging.INFO),
        mininterval=0.1 if interactive else 10.0,
        dynamic_ncols=interactive,
    ) as bar:
        for item in items:
            yield item
            bar.update(size(item))


def duration(seconds: float) -> str:
    """Words for how long something is going to take: "40 s", "6 min", "1.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
