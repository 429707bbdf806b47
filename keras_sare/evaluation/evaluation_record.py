"""`evaluation.json`: how the figures of a folder came about."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_sare.evaluation.measures.environment import environment
from keras_sare.evaluation.protocols import Protocol
from keras_sare.utils.files import atomic_path

RECORD = "evaluation.json"


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of an evaluation's work.

    Attributes:
        model: that it was done for.
        stage: what was done, "extract queries".
        images: how many it was done to.
        seconds: wall time, over all starts of the program.
        peak_bytes: most memory that the process has had until it was done; None where the system does not tell.
    """

    model: str
    stage: str
    images: int
    seconds: float
    peak_bytes: int | None


def write_record(
    folder: Path, protocol: Protocol, settings: Mapping[str, Any] | None = None, stages: Sequence[Stage] = ()
) -> None:
    """Writes the rules, the settings, the versions and devices of this process, and what each stage took.

    Args:
        folder: where; the file is replaced as a whole.
        protocol: that was measured by.
        settings: of the program; None where another file holds them.
        stages: in order. The time of the search stands with the measures.
    """
    rules = dataclasses.asdict(protocol)
    contents = {
        "protocol": {"name": rules.pop("name"), "source": rules.pop("source"), "text": protocol.description, **rules},
        "settings": None if settings is None else dict(settings),
        "environment": environment(),
        "stages": [dataclasses.asdict(stage) for stage in stages],
    }
    with atomic_path(folder / RECORD) as path:
        path.write_text(json.dumps(contents, indent=2) + "\n")
