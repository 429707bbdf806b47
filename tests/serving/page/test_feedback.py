"""What users say of answers: read within bounds, and kept a line at a time."""

import json
import resource
from pathlib import Path
from typing import Any

import pytest

from serving.errors import RequestError
from serving.page.feedback import FeedbackFile, read_feedback

KINDS = {"town": "metres", "city": "degrees"}
GIVEN = {
    "sha256": "0a" * 32,
    "verdict": "wrong",
    "answer": {
        "known": True,
        "map": "town",
        "position": {"easting": 3, "northing": 4.5},
        "uncertainty": 12.5,
        "probability": None,
        "candidates": ["a/b.jpg", "c\nd\u2028\ud800.jpg"],
    },
    "map": "city",
    "position": {"latitude": -33.9, "longitude": 151.2},
}


def said(**changes: Any) -> bytes:
    return json.dumps(GIVEN | changes).encode()


def answer(**changes: Any) -> bytes:
    return said(answer=GIVEN["answer"] | changes)


def test_what_was_said_is_kept_as_it_was_said(tmp_path: Path) -> None:
    path = tmp_path / "feedback.jsonl"
    file = FeedbackFile(path)
    file.append(read_feedback(said(), KINDS))
    file.append(read_feedback(said(verdict="right", map=None, position=None, more="than asked"), KINDS))
    FeedbackFile(path).append(read_feedback(answer(known=False, map=None, position=None, candidates=[]), KINDS))
    first, second, third = map(json.loads, path.read_bytes().splitlines())
    assert {**GIVEN, "time": first["time"]} == first
    assert first["time"].endswith("+00:00")
    assert path.stat().st_mode & 0o777 == 0o600
    assert (second["verdict"], second["map"], second["position"]) == ("right", None, None)
    assert "more" not in second
    assert (third["answer"]["known"], third["answer"]["position"]) == (False, None)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "JSONDecodeError"),
        (b"\xff", "UnicodeDecodeError"),
        (b"[1]", "TypeError"),
        (b"[" * 5000, "RecursionError"),
        (b'{"a": 1}', "KeyError 'answer'"),
        (said(sha256="0A" * 32), "of '0A0A"),
        (said(sha256=7), "of '7'"),
        (said(verdict="maybe"), "of 'maybe'"),
        (said(answer=None), "TypeError"),
        (said(map="nowhere", position=None), "of 'nowhere'"),
        (said(map=None), "KeyError None"),
        (said(position={"easting": 1, "northing": 2}), "KeyError 'latitude'"),
        (said(position={"latitude": 90.5, "longitude": 2}), "of '90.5'"),
        (said(position={"latitude": True, "longitude": 2}), "of 'True'"),
        (said(position={"latitude": "1", "longitude": 2}), "of '1'"),
        (answer(known=1), "of '1'"),
        (answer(position={"easting": float("nan"), "northing": 2}), "of 'nan'"),
        (answer(position={"easting": 10**400, "northing": 2}), "OverflowError"),
        (answer(uncertainty=float("inf")), "of 'inf'"),
        (answer(candidates="abc"), "of 'abc'"),
        (answer(candidates=["a"] * 21), "'a', 'a'"),
        (answer(candidates=[1]), "of '\\[1\\]'"),
        (said(more="." * 9000), "at most 8192 bytes"),
    ],
)
def test_what_is_no_feedback_is_refused_in_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as refused:
        read_feedback(data, KINDS)
    assert refused.value.code.name == "INVALID_ARGUMENT"
    assert "\n" not in refused.value.text


def test_a_line_that_was_cut_off_spoils_no_later_one_and_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "feedback.jsonl"
    path.write_bytes(b'{"time": "2026-')
    file = FeedbackFile(path, most_bytes=60)
    file.append({"verdict": "right"})
    assert path.read_bytes().splitlines()[1:] == [b'{"verdict": "right"}']
    before = path.read_bytes()
    with pytest.raises(RequestError, match="at most 60 bytes") as refused:
        file.append({"verdict": "right" * 5})
    assert refused.value.code.name == "RESOURCE_EXHAUSTED"
    assert path.read_bytes() == before


def test_of_a_line_for_which_there_is_no_room_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "feedback.jsonl"
    file = FeedbackFile(path)
    file.append({"verdict": "right"})
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, limits[1]))
    try:
        with pytest.raises(OSError, match="no room"):
            file.append({"verdict": "wrong"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_written_is_told_before_it_is_needed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        FeedbackFile(tmp_path / "nowhere" / "feedback.jsonl")
