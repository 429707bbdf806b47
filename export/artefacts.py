"""Which formats are meant, and what is written for each."""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from export.formats import FORMATS
from export.formats.format import Artefact, Request

logger = logging.getLogger("keras_sare.export")


def chosen_formats(names: Sequence[str]) -> list[str]:
    """Says which formats are meant, and checks that their packages are installed.

    Args:
        names: some of `FORMATS`; or "all": each of them, those that are optional only where their packages are
            installed.

    Returns:
        Some of `FORMATS`, in their order.

    Raises:
        ValueError: there is no name, or an unknown one.
        ImportError: packages of a format are not installed.
    """
    if not names or not {*names} <= {*FORMATS, "all"}:
        raise ValueError(f"FORMATS must be some of {', '.join(FORMATS)}, or all. Received: {' '.join(names) or 'none'}")
    formats = []
    for name, one in FORMATS.items():
        if name not in names and "all" not in names:
            continue
        missing = one.missing()
        if missing and (one.in_all or name in names):
            raise ImportError(missing)
        if missing:
            logger.info("Without %s: %s", name, missing)
        else:
            formats.append(name)
    return formats


def check_options(formats: Sequence[str], given: Collection[str]) -> None:
    """Checks that every option that was given is used.

    Args:
        formats: that are written.
        given: names of the options that the user gave a value.

    Raises:
        ValueError: an option belongs to a format that is not written.
    """
    for name, one in FORMATS.items():
        unused = [f"`{option.name}`" for option in one.options if option.name in given]
        if unused and name not in formats:
            raise ValueError(
                f"{', '.join(unused)} must only be given with the format {name}: add {name}, or leave it out. "
                f"Received: FORMATS={' '.join(formats)}"
            )


def plan(formats: Sequence[str], request: Request, options: Mapping[str, Any] | None = None) -> list[Artefact]:
    """Says what is to be written. Nothing is written yet.

    Args:
        formats: some of `FORMATS`.
        request: what is exported, and where to.
        options: values of the formats' options by name; those that are not there have their defaults.

    Raises:
        ValueError: an option has an unknown value, or does not go with the source; or photos to calibrate with cannot
            be read.
        FileNotFoundError: there is no such folder of photos to calibrate with.
        FileExistsError: the version exists.
    """
    artefacts: list[Artefact] = []
    for name in formats:
        values = {option.name: option.default for option in FORMATS[name].options}
        values |= {key: value for key, value in (options or {}).items() if key in values}
        artefacts += FORMATS[name].plan(request, values)
    return artefacts
