"""What users say of answers, kept in a file for the next training: a JSON object a line."""

import errno
import json
import math
import os
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keras_sare.localization.place_rows import AXES, MOST
from serving.errors import exhausted, invalid_argument

MOST_BYTES = 64 * 2**20
"""Of the file: some hundred thousand lines."""

_MOST_LINE = 8192
_MOST_NAMES = 20
_DIGEST = re.compile("[0-9a-f]{64}")
_VERDICTS = ("right", "wrong")


class FeedbackFile:
    """A file to which lines are added, one after the other: each is on the disk when `append` returns, or is not there.

    It tells where people were, so where it is made nobody but its owner may read it.

    Args:
        path: of the file; it is made where there is none.
        most_bytes: that it may have. Strangers write it.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: str | Path, most_bytes: int = MOST_BYTES) -> None:
        self.path = Path(path)
        self._most = most_bytes
        self._lock = threading.Lock()
        with open(self.path, "ab+", opener=_private) as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                # The machine may have stopped within a line.
                if file.read(1) != b"\n":
                    file.write(b"\n")

    def append(self, contents: Mapping[str, Any]) -> None:
        """Adds a line.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, the file has as many bytes as it may.
            OSError: it cannot be written; nothing of the line is there.
        """
        line = json.dumps(contents).encode() + b"\n"
        with self._lock, open(self.path, "ab", buffering=0, opener=_private) as file:
            before = file.tell()
            if before + len(line) > self._most:
                raise exhausted(
                    f"The file of feedback must have at most {self._most} bytes; its owner must move it away",
                    "feedback",
                )
            try:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, f"{str(self.path)!r} has no room for a line")
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def read_feedback(data: bytes, kinds: Mapping[str, str]) -> dict[str, Any]:
    """Reads what a user says of an answer.

    Args:
        data: JSON: `sha256` of the photo, `verdict`, `answer` (`known`, `map`, `position`, `uncertainty`,
            `probability`, `candidates`: names) and where the photo was taken, if that is known: `map` and `position`.
        kinds: name of each map to "metres" or "degrees".

    Returns:
        The line for the file: what was said, checked, and `time`, ISO 8601.

    Raises:
        RequestError: INVALID_ARGUMENT, it is something else.
    """
    if len(data) > _MOST_LINE:
        raise invalid_argument(f"Feedback must have at most {_MOST_LINE} bytes. Received: {len(data)}")
    try:
        given = json.loads(data)
        answer = given["answer"]
        sha256 = given["sha256"]
        return {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "sha256": _checked(sha256, isinstance(sha256, str) and _DIGEST.fullmatch(sha256)),
            "verdict": _checked(given["verdict"], given["verdict"] in _VERDICTS),
            "answer": {
                "known": _checked(answer["known"], isinstance(answer["known"], bool)),
                "map": _map(answer, kinds),
                "position": _position(answer, kinds),
                "uncertainty": _optional(answer.get("uncertainty")),
                "probability": _optional(answer.get("probability")),
                "candidates": _names(answer["candidates"]),
            },
            "map": _map(given, kinds),
            "position": _position(given, kinds),
        }
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise invalid_argument(
            "Feedback must be JSON with `sha256` of the photo, `verdict` (right or wrong), `answer` and, where the "
            f"photo was taken elsewhere, `map` and `position`. Received: {type(error).__name__} {error}"[:500]
        ) from None


def _checked(value: Any, is_right: Any) -> Any:
    if not is_right:
        raise ValueError(f"of {str(value)[:80]!r}")
    return value


def _number(value: Any, most: float = math.inf) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(_checked(value, is_number and math.isfinite(value) and abs(value) <= most))


def _optional(value: Any) -> float | None:
    return None if value is None else _number(value)


def _map(given: Mapping[str, Any], kinds: Mapping[str, str]) -> str | None:
    name: str | None = given.get("map")
    return None if name is None else str(_checked(name, isinstance(name, str) and name in kinds))


def _position(given: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, float] | None:
    position = given.get("position")
    if position is None:
        return None
    kind = kinds[given["map"]]
    return {axis: _number(position[axis], most) for axis, most in zip(AXES[kind], MOST[kind], strict=True)}


def _names(given: Any) -> list[str]:
    is_right = isinstance(given, list) and len(given) <= _MOST_NAMES and all(isinstance(name, str) for name in given)
    return list(_checked(given, is_right))
