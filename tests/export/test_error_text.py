import pytest
import tensorflow as tf

from export.error_text import one_line


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
