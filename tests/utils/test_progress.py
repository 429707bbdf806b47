import logging

import pytest
import tensorflow as tf

from keras_sare.utils.progress import duration, progress


def test_bar_shows_when_the_library_logs_information(caplog, capsys):
    with caplog.at_level(logging.INFO, "keras_sare"):
        assert list(progress(range(3), "reading")) == [0, 1, 2]
    assert "reading" in capsys.readouterr().err


def test_library_is_silent_otherwise(caplog, capsys):
    with caplog.at_level(logging.WARNING, "keras_sare"):
        assert list(progress(range(3), "reading")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["list", "generator", "dataset of known length", "dataset of unknown length"])
def test_bar_takes_whatever_can_be_iterated(kind, caplog, capsys):
    dataset = tf.data.Dataset.range(3)
    items = {
        "list": [0, 1, 2],
        "generator": (i for i in range(3)),
        "dataset of known length": dataset,
        "dataset of unknown length": dataset.filter(lambda _: True),
    }[kind]
    with caplog.at_level(logging.INFO, "keras_sare"):
        assert [int(item) for item in progress(items, "reading")] == [0, 1, 2]
    assert ("3/3" in capsys.readouterr().err) == (kind in ("list", "dataset of known length"))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "1 s"), (89.4, "89 s"), (90, "2 min"), (360, "6 min"), (5400, "1.5 h"), (36000, "10.0 h")],
)
def test_durations_are_told_in_a_unit_that_suits_them(seconds, words):
    assert duration(seconds) == words
