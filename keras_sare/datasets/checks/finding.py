"""One thing that is wrong with a data set."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

logger = logging.getLogger(__name__)

ERROR = "error"
"""Would break a run, or make its numbers meaningless."""
WARNING = "warning"
"""Changes what the numbers mean, or loses images."""
NOTE = "note"
"""Good to know."""


@dataclass(frozen=True)
class Finding:
    """What was found, and what to do about it.

    Attributes:
        kind: short name of the check, for programs: "missing", "swapped", "overlap".
        level: `ERROR`, `WARNING` or `NOTE`.
        where: data set, or data set and side.
        message: what was found, one sentence without a full stop.
        advice: what to do; empty where there is nothing to.
    """

    kind: str
    level: str
    where: str
    message: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}." + (f" {self.advice}." if self.advice else "")


def log_findings(findings: Iterable[Finding]) -> None:
    """Logs errors and warnings as such, one line each, without the notes."""
    levels = {ERROR: logging.ERROR, WARNING: logging.WARNING}
    for one in findings:
        if one.level in levels:
            logger.log(levels[one.level], "%s", one)
