"""What a program tells of an error: one line."""

import logging
import sys
import textwrap
from collections.abc import Callable, Iterator
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
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if lines[0] == "in user code:":  # Of a function while it is traced: the text comes last.
        lines = lines[-1:]
    elif _is_of_an_operation(error):  # Of an operation while it runs: the text comes first.
        lines = lines[:1]
    line = textwrap.shorten(" ".join(lines), _MOST, placeholder=" ...")
    return printable(line)


@contextmanager
def expected_errors(program: str, *also: type[Exception], debug: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Ends a program with one line and exit status 1 where it meets an error that its user can do something about.

    Errors of other kinds, such as TypeError, are faults of the program and keep their traceback. That of an expected
    one is logged before the line: as an error where `debug` says so, else as debugging information.

    Args:
        program: the line's first word, for example "trainers.pitts".
        also: further kinds of errors that are expected, such as those of the parser of the program's flags.
        debug: asked when an error has come, for what the user asked for with `--debug`.

    Example:

    >>> if __name__ == "__main__":
    ...     flags.DEFINE_bool("debug", False, "Shows where in the code an error arose.")
    ...     with expected_errors("trainers.pitts", flags.Error, debug=lambda: FLAGS["debug"].value):
    ...         app.run(main, flags_parser=FLAGS)  # With FLAGS a wrong flag is told in one line, too.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(f"{program}: Interrupted.")
    except Exception as error:
        if not isinstance(error, also) and not _is_expected(error):
            raise
        logger.log(logging.ERROR if debug() else logging.DEBUG, "Where it happened:", exc_info=True)
        sys.exit(f"{program}: {one_line(error)}")


def _is_expected(error: Exception) -> bool:
    if isinstance(error, NotImplementedError | RecursionError):  # RuntimeErrors that no user can help.
        return False
    expected = OSError | ValueError | ImportError | RuntimeError | FloatingPointError | MemoryError
    return isinstance(error, expected) or _is_of_an_operation(error)


def _is_of_an_operation(error: BaseException) -> bool:
    """Whether an error is one of TensorFlow's, which is not imported for it: its seconds would delay the message."""
    tf = sys.modules.get("tensorflow")
    return tf is not None and isinstance(error, tf.errors.OpError)
