"""Settings as fields of dataclasses: each says once its type, default, meaning and bounds."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from keras_sare.utils.choices import check_choice

ORIENTATIONS = ("upright", "stored")
"""How images are read: as viewers show them, or as their pixels are stored."""

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
"""What a model computes in."""


def setting(
    default: Any,
    text: str,
    *,
    choices: Iterable[str] = (),
    least: float | None = None,
    required: bool = False,
    repeated: bool = False,
) -> Any:
    """Makes a field of a dataclass.

    Args:
        default: its value where none is given.
        text: what it is, in a sentence for `--help`; empty for a setting that programs leave as it is.
        choices: the only values that text may have; empty for any.
        least: the smallest value that a number may have; None for no bound.
        required: whether a program cannot do without a value of the user's.
        repeated: whether each value of a list is given by a flag of its own, as it may hold commas.
    """
    known = {"text": text, "choices": tuple(choices), "least": least, "required": required, "repeated": repeated}
    return dataclasses.field(default=default, metadata=known)


def check_settings(settings: Any) -> None:
    """Checks the fields of a dataclass made by `setting` against their choices and bounds. None passes.

    Raises:
        ValueError: one is out of range.
    """
    for field in dataclasses.fields(settings):
        name = field.name
        value = getattr(settings, field.name)
        choices = field.metadata.get("choices")
        least = field.metadata.get("least")
        if value is None:
            continue
        if choices:
            check_choice(name, value, choices)
        if least is not None and value < least:
            raise ValueError(f"`{name}` must be at least {least:g}. Received: {name}={value}")
