"""What a program tells of an error: one line."""

import logging
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

from keras_sare.utils.text import printable

logger = logging.getLogger(__name__)

_MOST = 1000


def one_line(error: BaseException) -> str:
    """Takes the text of an error without what TensorFlow adds to it: traces through its own code.

    Args:
        error: of any kind. What is longer than 1000 characters, as a converter's may be, is cut. Characters that a
            terminal would take for commands, as a file's name may hold, are escaped.
    """
    import tensorflow as tf  # Here, because a program's --help should not take its seconds.

    lines = str(error).strip().splitlines() or [type(error).__name__]
    if lines[0] == "in user code:":  # Of a function while it is traced: the text comes last.
        lines = lines[-1:]
    elif isinstance(error, tf.errors.OpError):  # Of an operation while it runs: the text comes first.
        lines = lines[:1]
    line = textwrap.shorten(" ".join(lines), _MOST, placeholder=" ...")
    return printable(line)


@contextmanager
def expected_errors(program: str) -> Iterator[None]:
    """Ends a program with one line and exit status 1 where it meets an error that its user can do something about.

    Errors of other kinds, such as TypeError, are faults of the program and keep their traceback. That of an expected
    one is logged as debugging information, which `--verbosity=1` shows.

    Args:
        program: the line's first word, for example "trainers.pitts".

    Example:

    >>> if __name__ == "__main__":
    ...     app.run(expected_errors("trainers.pitts")(main))
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(f"{program}: Interrupted.")
    except Exception as error:
        if not _is_expected(error):
            raise
        logger.debug("Where it happened:", exc_info=True)
        sys.exit(f"{program}: {one_line(error)}")


def _is_expected(error: Exception) -> bool:
    import tensorflow as tf

    if isinstance(error, NotImplementedError | RecursionError):  # RuntimeErrors that no user can help.
        return False
    expected = OSError | ValueError | ImportError | RuntimeError | FloatingPointError | MemoryError
    return isinstance(error, expected | tf.errors.OpError)
