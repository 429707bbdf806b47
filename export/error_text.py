"""What a program tells of an error in one line."""

import textwrap

import tensorflow as tf

_MOST = 1000


def one_line(error: Exception) -> str:
    """Takes the text of an error without what TensorFlow adds to it: traces through its own code.

    Args:
        error: of any kind. What is longer than 1000 characters, as a converter's may be, is cut.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if lines[0] == "in user code:":  # Of a function while it is traced: the text comes last.
        lines = lines[-1:]
    elif isinstance(error, tf.errors.OpError):  # Of an operation while it runs: the text comes first.
        lines = lines[:1]
    return textwrap.shorten(" ".join(lines), _MOST, placeholder=" ...")
