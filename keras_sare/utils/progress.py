"""Progress bars that follow the logging level."""

import logging
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm.auto import tqdm

logger = logging.getLogger("keras_sare")
Item = TypeVar("Item")


def progress(items: Iterable[Item], description: str, total: int | None = None, unit: str = "it") -> Iterator[Item]:
    """Iterates over `items` and shows a bar when the `keras_sare` logger is enabled for INFO.

    The library itself never prints: a program that asks for INFO messages sees bars, any other sees nothing. On
    a standard error that is not a terminal the bar is refreshed every ten seconds, which keeps log files short.

    Args:
        items: what to iterate over.
        description: text at the left of the bar.
        total: number of items, where `items` has no length.
        unit: name of one item.
    """
    interactive = sys.stderr.isatty()
    yield from tqdm(
        items,
        desc=description,
        total=total,
        unit=unit,
        disable=not logger.isEnabledFor(logging.INFO),
        mininterval=0.1 if interactive else 10.0,
        dynamic_ncols=interactive,
    )
