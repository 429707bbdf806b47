"""Conditions on the columns of a place index, as Lance takes them: SQL of which no part is a stranger's text."""

import numpy as np

_DATE = "^(19|20)[0-9]{2}[-:/]?(0[1-9]|1[0-2])[-:/]?(0[1-9]|[12][0-9]|3[01])[T _]?"
"""Start of a timestamp as ISO 8601, EXIF and the VG benchmark's names write it; what follows are hours and minutes."""


def inside(box: np.ndarray, axes: tuple[str, str]) -> str:
    """Of positions in a box, [2, 2] least and most of each of the `axes`."""
    # repr of a float has all its digits; and nothing else can be written into the condition.
    limits = np.asarray(box, np.float64).tolist()
    return " AND ".join(f"{axis} BETWEEN {low!r} AND {high!r}" for axis, (low, high) in zip(axes, limits, strict=True))


def taken_between(first: int, last: int) -> str:
    """Of timestamps from one minute of the day to another, over midnight where `first` is later; both count."""
    parts = [(first, last)] if first <= last else [(first, 24 * 60 - 1), (0, last)]
    clocks = [clock for start, end in parts for clock in _clocks(start, end)]
    return f"regexp_like(timestamp, '{_DATE}({'|'.join(clocks)})')"


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _clocks(first: int, last: int) -> list[str]:
    """Patterns of the minutes, an hour each."""
    return [
        f"{hour:02d}:?({'|'.join(f'{m:02d}' for m in range(max(first - 60 * hour, 0), min(last - 60 * hour, 59) + 1))})"
        for hour in range(first // 60, last // 60 + 1)
    ]
