import logging

from keras_sare.utils.progress import progress


def test_bar_shows_when_the_library_logs_information(caplog, capsys):
    with caplog.at_level(logging.INFO, "keras_sare"):
        assert list(progress(range(3), "reading")) == [0, 1, 2]
    assert "reading" in capsys.readouterr().err


def test_library_is_silent_otherwise(caplog, capsys):
    with caplog.at_level(logging.WARNING, "keras_sare"):
        assert list(progress(range(3), "reading")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
