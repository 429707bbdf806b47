"""Flags of a program, made from its configuration."""

import dataclasses
import types
from collections.abc import Sequence
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from absl import flags

from trainers.config.config import Config

Chosen = TypeVar("Chosen", bound=Config)


def parse(config: type[Chosen], arguments: Sequence[str]) -> tuple[Chosen, list[str]]:
    """Makes a configuration of a command line.

    Args:
        config: of the program.
        arguments: without the program's name.

    Returns:
        The configuration, and what is left of the arguments: what stands after `--`.

    Raises:
        flags.Error: a flag is unknown, or a value is not one of its flag.
    """
    values = define_flags(config)
    rest = values(["", *arguments])[1:]
    given = {name: values[name].value for name in values if values[name].present}
    return config(**given), rest


def define_flags(config: type[Config]) -> flags.FlagValues:
    """Makes a flag for each setting of a configuration."""
    values = flags.FlagValues()
    hints = get_type_hints(config)
    for field in dataclasses.fields(config):
        if field.metadata.get("text"):
            _define(values, field, _kind(hints[field.name]))
    return values


def _define(values: flags.FlagValues, field: "dataclasses.Field[Any]", kind: type) -> None:
    options: dict[str, Any] = {"flag_values": values}
    default: Any = field.default
    told = field.name, default, field.metadata["text"]
    if kind is bool:
        flags.DEFINE_bool(*told, **options)
    elif kind is int:
        flags.DEFINE_integer(*told, lower_bound=field.metadata["least"], **options)
    elif kind is float:
        flags.DEFINE_float(*told, lower_bound=field.metadata["least"], **options)
    elif field.metadata["repeated"]:
        flags.DEFINE_multi_string(field.name, list(default), field.metadata["text"], **options)
    elif kind is tuple:
        listed = None if default is None else [str(one) for one in default]
        flags.DEFINE_list(field.name, listed, field.metadata["text"], **options)
    elif field.metadata["choices"]:
        flags.DEFINE_enum(field.name, default, list(field.metadata["choices"]), field.metadata["text"], **options)
    else:
        flags.DEFINE_string(*told, **options)


def _kind(hint: Any) -> type:
    """The type of a setting that may be None."""
    if get_origin(hint) in (Union, types.UnionType):
        [hint] = [one for one in get_args(hint) if one is not type(None)]
    return get_origin(hint) or hint
