"""What turns a function that takes a configuration into a program."""

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from absl import flags

from keras_sare.utils.text import printable
from trainers.config import Config
from trainers.config.flags import define_flags, parse

Chosen = TypeVar("Chosen", bound=Config)

RESUMED = "Interrupted. The same command with --resume goes on after the last checkpoint."
"""What a user can do where a training is interrupted."""

_HELP = frozenset({"--help", "-help", "-h", "--helpfull", "--helpshort", "-?"})


def start_program(
    name: str, description: str | None, config: type[Chosen], run: Callable[[Chosen], object], on_interrupt: str
) -> None:
    """Runs a program: `--help`, flags, errors of one line, and how it goes on where it is interrupted.

    TensorFlow is imported when the flags have been read, so that help and a wrong flag answer at once.

    Args:
        name: of the program, for messages: "trainers.pitts".
        description: for `--help`.
        config: that its flags are made from.
        run: takes the configuration.
        on_interrupt: what an interrupted user can do.
    """
    arguments = sys.argv[1:]
    if _HELP.intersection(_before_dashes(arguments)):
        sys.stdout.write(f"{description or ''}\nFlags of {name}:\n{_flags_help(config)}\n")
        return
    arguments, debug = _without_debug(arguments)
    try:
        chosen, rest = parse(config, arguments)
        if rest and not hasattr(chosen, "passed_on"):
            raise ValueError(f"Arguments must be flags, --name=value. Received: {rest[0]!r}")
        if rest:
            chosen = chosen.changed({"passed_on": tuple(rest)})
        chosen.check()
    except (flags.Error, ValueError) as error:
        sys.exit(printable(f"{name}: {' '.join(str(error).split())}"))
    _run(name, chosen, run, on_interrupt, debug)


def _run(name: str, chosen: Chosen, run: Callable[[Chosen], object], on_interrupt: str, debug: bool) -> None:
    from absl import logging

    from keras_sare.utils.quiet_start import load_tensorflow

    load_tensorflow()
    from keras_sare.utils.error_text import expected_errors
    from keras_sare.utils.progress import show_information

    flags.FLAGS([name])  # absl's own, which say how messages are shown.
    logging.use_absl_handler()
    with expected_errors(name, debug=lambda: debug):
        show_information()
        try:
            run(chosen)
        except KeyboardInterrupt:
            sys.exit(on_interrupt)


def _flags_help(config: type[Config]) -> str:
    """The flags, without the name of the module that made them."""
    return define_flags(config).get_help().partition(":\n")[2]


def _before_dashes(arguments: Sequence[str]) -> Sequence[str]:
    """What is the program's own: after `--` come others'."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Takes out `--debug`, and absl's `--verbosity=1` that was its name before."""
    names = {"--debug", "--verbosity=1", "-v=1"}
    own = _before_dashes(arguments)
    kept = [one for one in own if one not in names]
    return [*kept, *arguments[len(own) :]], len(kept) < len(own)
