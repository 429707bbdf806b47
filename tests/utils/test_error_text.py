import subprocess
import sys

import pytest
import tensorflow as tf

from keras_sare.utils.error_text import expected_errors, one_line


def test_text_of_several_lines_becomes_one():
    assert (
        one_line(RuntimeError("It died.\n\n  The end of its log:\nKilled\n")) == "It died. The end of its log: Killed"
    )


def test_error_without_a_text_is_told_by_its_class():
    assert one_line(RuntimeError()) == "RuntimeError"


def test_pages_are_cut():
    text = one_line(Exception("The converter failed. " + "%0 = tfl.conv_2d " * 1000))
    assert text.startswith("The converter failed. %0 = tfl.conv_2d ")
    assert text.endswith(" ...")
    assert len(text) <= 1000


def test_error_in_a_traced_function_is_told_without_the_way_to_it():
    @tf.function
    def function(image):
        if image.shape[0] < 2:
            raise ValueError("The image is too small. Received: 1")
        return image

    with pytest.raises(ValueError, match="in user code") as caught:
        function(tf.zeros(1))
    assert one_line(caught.value) == "ValueError: The image is too small. Received: 1"


def test_error_of_an_operation_is_told_without_its_traceback():
    def read(_):
        raise ValueError("Cannot read photo.jpg")

    with pytest.raises(tf.errors.OpError) as caught:
        next(iter(tf.data.Dataset.range(1).map(lambda i: tf.py_function(read, [i], tf.int64))))
    assert "Traceback" in str(caught.value)
    assert one_line(caught.value).endswith("ValueError: Cannot read photo.jpg")


def test_commands_to_a_terminal_are_not_passed_on():
    assert one_line(OSError("cannot read a\x1b[2J\x07b \N{WHITE SMILING FACE}.jpg")) == (
        "cannot read a\\x1b[2J\\x07b \N{WHITE SMILING FACE}.jpg"
    )


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("no file\nof that name"),
        ValueError("no file of that name"),
        ImportError("no file of that name"),
        RuntimeError("no file of that name"),
        MemoryError("no file of that name"),
        FloatingPointError("no file of that name"),
        tf.errors.ResourceExhaustedError(None, None, "no file of that name\nhint: ..."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_that_a_user_can_help_ends_a_program_in_one_line(error):
    with pytest.raises(SystemExit) as ended, expected_errors("trainers.pitts"):
        raise error
    assert ended.value.code == "trainers.pitts: no file of that name"


@pytest.mark.parametrize("kind", [TypeError, KeyError, NotImplementedError, RecursionError, AssertionError])
def test_fault_of_a_program_keeps_its_traceback(kind):
    with pytest.raises(kind), expected_errors("trainers.pitts"):
        raise kind


def test_interrupted_program_says_so():
    with pytest.raises(SystemExit, match="export: Interrupted"), expected_errors("export"):
        raise KeyboardInterrupt


def test_traceback_of_an_expected_error_is_there_for_who_asks(caplog):
    with caplog.at_level("DEBUG", "keras_sare"), pytest.raises(SystemExit), expected_errors("export"):
        raise ValueError("no file")
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("asked", [True, False])
def test_traceback_is_shown_before_the_line_where_the_user_asked_for_it(asked, caplog):
    with pytest.raises(SystemExit, match="export: no file"), expected_errors("export", debug=lambda: asked):
        raise ValueError("no file")
    shown = [record for record in caplog.records if record.levelname == "ERROR" and record.exc_info]
    assert len(shown) == asked


def test_errors_of_the_parser_of_flags_can_be_expected_too():
    with pytest.raises(SystemExit, match="export: no such flag"), expected_errors("export", KeyError, LookupError):
        raise LookupError("no such flag")


def test_error_is_told_without_importing_tensorflow():
    program = (
        "import sys\n"
        "from keras_sare.utils.error_text import expected_errors\n"
        "try:\n"
        "    with expected_errors('export'):\n"
        "        raise ValueError('no file')\n"
        "finally:\n"
        "    assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "export: no file\n")
