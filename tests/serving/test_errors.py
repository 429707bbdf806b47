"""The error of a request: which text goes out."""

import grpc
import pytest

from serving.errors import RequestError, invalid_argument


@pytest.mark.parametrize("length", [0, 1, 1024])
def test_a_text_of_at_most_1024_bytes_goes_out_whole(length: int) -> None:
    assert invalid_argument("x" * length).details == "x" * length


def test_a_longer_text_is_cut_after_1024_bytes_and_marked() -> None:
    assert invalid_argument("x" * 1025).details == "x" * 1024 + "...TRUNCATED"


def test_a_character_is_never_cut_in_half() -> None:
    assert invalid_argument("x" + "é" * 1000).details == "x" + "é" * 511 + "...TRUNCATED"


def test_the_error_keeps_its_code_and_text() -> None:
    error = RequestError(grpc.StatusCode.NOT_FOUND, "gone")
    assert (error.code, error.text, str(error)) == (grpc.StatusCode.NOT_FOUND, "gone", "gone")
