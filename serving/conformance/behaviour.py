"""A behaviour of TensorFlow Serving, and how an endpoint compares."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

PHOTO = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415478da6368705000"
    "00022400e195a4b18b0000000049454e44ae426082"
)
"""A PNG file of one pixel, for models that take files."""


class Outcome(Enum):
    """How an endpoint compares. MISSING: it does not offer what the behaviour is about."""

    SAME = "same"
    DIFFERS = "differs"
    MISSING = "missing"


class DiffersError(Exception):
    """The endpoint behaves otherwise; the text says how."""


class MissingError(Exception):
    """The endpoint does not offer what the behaviour is about; the text says what."""


@dataclass(frozen=True)
class Behaviour:
    """One behaviour.

    Attributes:
        name: what is expected, in words.
        check: asks the endpoint; raises DiffersError or MissingError.
    """

    name: str
    check: Callable[[Any], None]


@dataclass(frozen=True)
class Result:
    """How an endpoint compares in one behaviour.

    Attributes:
        name: of the behaviour.
        outcome: how.
        text: what was different; empty where nothing was.
    """

    name: str
    outcome: Outcome
    text: str = ""


def compare(behaviour: Behaviour, endpoint: Any) -> Result:
    """Asks an endpoint for one behaviour.

    Args:
        behaviour: the behaviour.
        endpoint: what its check takes.
    """
    try:
        behaviour.check(endpoint)
    except DiffersError as error:
        return Result(behaviour.name, Outcome.DIFFERS, str(error))
    except MissingError as error:
        return Result(behaviour.name, Outcome.MISSING, str(error))
    return Result(behaviour.name, Outcome.SAME)


def expect(what: str, received: object, expected: object) -> None:
    """Raises DiffersError where two values are not equal."""
    if received != expected:
        raise DiffersError(f"{what}: expected {expected!r}, received {received!r}")
