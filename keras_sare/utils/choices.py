"""Arguments that take one of several values."""

from collections.abc import Iterable


def check_choice(argument: str, value: object, known: Iterable[object]) -> None:
    """Checks that an argument has one of the values that it may have.

    Args:
        argument: its name, for the message.
        value: what was given.
        known: the values, in the order in which the message lists them.

    Raises:
        ValueError: it has another.
    """
    names = list(known)
    if value not in names:
        raise ValueError(f"`{argument}` must be one of {', '.join(map(str, names))}. Received: {argument}={value!r}")
