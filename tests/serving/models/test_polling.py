"""The thread that looks at the folders."""

import logging
import threading

import pytest

from serving.models.polling import Polling


def test_a_function_is_called_until_it_is_stopped() -> None:
    calls = threading.Semaphore(0)
    polling = Polling(calls.release, 0.001)
    polling.start()
    for _ in range(3):
        assert calls.acquire(timeout=20)
    polling.stop()
    while calls.acquire(blocking=False):
        pass
    assert not calls.acquire(timeout=0.01)


def test_an_error_ends_nothing_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    calls = threading.Semaphore(0)

    def fail() -> None:
        calls.release()
        raise OSError("out of reach")

    polling = Polling(fail, 0.001)
    with caplog.at_level(logging.ERROR, "serving"):
        polling.start()
        for _ in range(3):
            assert calls.acquire(timeout=20)
        polling.stop()
    assert caplog.messages == ["The model folders could not be looked at: out of reach"]


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_seconds_must_be_positive(seconds: float) -> None:
    with pytest.raises(ValueError, match="`seconds` must be positive"):
        Polling(lambda: None, seconds)
