import pytest

from keras_sare.reconstruction.background import run_pycolmap


def test_the_result_of_the_call_is_returned_and_its_steps_are_counted(caplog, capsys):
    caplog.set_level("INFO", "keras_sare")
    finished = []

    def call(pycolmap, token):
        assert not token.is_cancelled
        for _ in range(3):
            finished.append(pycolmap.__name__)
        return "made"

    assert run_pycolmap(call, lambda: len(finished), "Features", "image", 3) == "made"
    assert "3/3" in capsys.readouterr().err


def test_an_interruption_stops_the_call_before_it_is_passed_on():
    stopped = []

    def call(_, token):
        while not token.is_cancelled:
            pass
        stopped.append(True)

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_pycolmap(call, interrupted, "Matching", "pair")
    assert stopped == [True]


def test_an_error_of_the_call_is_passed_on():
    def call(*_):
        raise RuntimeError("COLMAP fails")

    with pytest.raises(RuntimeError, match="COLMAP fails"):
        run_pycolmap(call, lambda: 0, "Mapping", "image")
