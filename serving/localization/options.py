"""What a request asks for beside its photos, checked."""

import math
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_sare.localization import Motion, Prior
from serving.errors import RequestError, invalid_argument

MOST_CANDIDATES = 100
"""That a request may ask for."""
MOST_LISTED = 64
"""Entries that the list of an option may have."""
LONGEST_STEP = 10_000.0
"""Metres from one photo of a walk to the next that a request may name."""
_MOST_TEXT = 32
_CLOCK = re.compile(r"([01]?\d|2[0-3]):[0-5]\d", re.ASCII)


@dataclass(frozen=True)
class Options:
    """Options of a request.

    Attributes:
        k: candidates of each photo; see `DescriptorLocalizer`.
        precision: share of the known answers that should be right.
        near: a rough position of all photos, as the maps have it; None where it is not known.
        within: metres around it.
        maps: names of those that are looked at; empty for all.
        time_of_day: when the photos were taken, "21:30"; empty where that is not known.
        sequence: whether the photos are of one walk, in its order.
        speed: metres from one photo of a walk to the next, at most; see `Motion`.
    """

    k: int = 20
    precision: float = 0.9
    near: tuple[float, float] | None = None
    within: float = 1000.0
    maps: tuple[str, ...] = ()
    time_of_day: str = ""
    sequence: bool = False
    speed: float = Motion.speed

    @property
    def prior(self) -> Prior:
        """What is known of the photos already."""
        return Prior(None if self.near is None else np.array(self.near), self.within, self.time_of_day)

    @property
    def walk(self) -> Motion | None:
        """How the photos follow each other; None where each stands alone."""
        return Motion(speed=self.speed) if self.sequence else None


def read_options(values: Mapping[str, Any]) -> Options:
    """Checks options.

    Args:
        values: by name, as JSON has them.

    Raises:
        RequestError: INVALID_ARGUMENT, there is no such option, or a value is none of it.
    """
    unknown = sorted(set(values) - set(_CHECKS))
    if unknown:
        raise invalid_argument(
            f"The request must have `photos` and no options but {', '.join(_CHECKS)}. Received: {_shown(unknown[0])}"
        )
    if "within" in values and "near" not in values:
        raise invalid_argument("`within` must come with `near`, around which it is. Received: `within` alone")
    if "speed" in values and not values.get("sequence"):
        raise invalid_argument("`speed` must come with `sequence`: it is of a walk. Received: `speed` alone")
    return Options(**{name: _CHECKS[name](name, value) for name, value in values.items()})


def options_of_text(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Reads options out of an address's query: what JSON would have, for `read_options`.

    Args:
        pairs: of names and values, as in `near=51.5,-0.1`.

    Raises:
        RequestError: INVALID_ARGUMENT, one stands there twice.
    """
    values: dict[str, Any] = {}
    for name, text in pairs:
        if name in values:
            raise invalid_argument(f"The address must name each option once. Received: {_shown(name)} twice")
        values[name] = _READ.get(name, str)(text)
    return values


def _whole(name: str, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MOST_CANDIDATES:
        raise _wrong(name, f"a whole number from 1 to {MOST_CANDIDATES}", value)
    return value


def _share(name: str, value: Any) -> float:
    if not _is_number(value) or not 0 < value <= 1:
        raise _wrong(name, "a number above 0 and at most 1", value)
    return float(value)


def _metres(name: str, value: Any) -> float:
    if not _is_number(value) or value <= 0:
        raise _wrong(name, "a positive number of metres", value)
    return float(value)


def _step(name: str, value: Any) -> float:
    if not _is_number(value) or not 0 < value <= LONGEST_STEP:
        raise _wrong(name, f"a number of metres above 0 and at most {LONGEST_STEP:g}", value)
    return float(value)


def _position(name: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2 or not all(map(_is_number, value)):
        raise _wrong(name, "two numbers as the maps have them, such as [51.5, -0.1]", value)
    return float(value[0]), float(value[1])


def _names(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MOST_LISTED or not all(isinstance(v, str) for v in value):
        raise _wrong(name, f"a list of 1 to {MOST_LISTED} names", value)
    if len({*value}) < len(value):
        raise _wrong(name, "a list of different names", value)
    return tuple(value)


def _clock(name: str, value: Any) -> str:
    if not isinstance(value, str) or not _CLOCK.fullmatch(value):
        raise _wrong(name, 'a time of day such as "21:30"', value)
    return value


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, "true or false", value)
    return value


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "k": _whole,
    "precision": _share,
    "near": _position,
    "within": _metres,
    "maps": _names,
    "time_of_day": _clock,
    "sequence": _truth,
    "speed": _step,
}


def _is_number(value: Any) -> bool:
    # Whole numbers of thousands of digits, which JSON may hold, have no float.
    return type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)


def _number(text: str) -> Any:
    try:
        return int(text) if len(text) < _MOST_TEXT and text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        return text


_READ: dict[str, Callable[[str], Any]] = {
    "k": _number,
    "precision": _number,
    "near": lambda text: [_number(part) for part in text.split(",", 3)],
    "within": _number,
    "speed": _number,
    "maps": lambda text: text.split(",", MOST_LISTED),
    "sequence": lambda text: {"true": True, "false": False}.get(text, text),
}


def _wrong(name: str, wanted: str, value: Any) -> RequestError:
    return invalid_argument(f"`{name}` must be {wanted}. Received: {name}={_shown(value)}")


def _shown(value: Any) -> str:
    return reprlib.repr(value)
