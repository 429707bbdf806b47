"""One thing that is wrong with a data set."""

from dataclasses import dataclass

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
