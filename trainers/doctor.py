"""Says all that is wrong with a data set at once, and what to do, before hours are spent on it.

    python -m trainers.doctor --root=DATA --output=report

Missing, damaged, repeated and nearly repeated photos; queries without positives, and why; splits that show the same
ground; sizes and orientations; what a run costs on this machine. What was decoded is remembered, so that a second start
takes seconds. The status is 1 where something would break a run, else 0.
"""

import sys

from trainers.config import DoctorConfig
from trainers.program import start_program


def run(config: DoctorConfig) -> str:
    """Examines a data set, prints what it finds, and writes `doctor.json` where `output` is given.

    Returns:
        What was printed.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a setting is wrong.
        OSError: the output cannot be written.
    """
    return _run(config)[0]


def _run(config: DoctorConfig) -> tuple[str, bool]:
    from trainers.stages.places.examination import examine

    config.check()
    text, breaks = examine(config)
    print(text)
    return text, breaks


def run_and_exit(config: DoctorConfig) -> None:
    """The same, and ends the program with status 1 where something would break a run."""
    if _run(config)[1]:
        sys.exit(1)


if __name__ == "__main__":
    start_program("trainers.doctor", __doc__, DoctorConfig, run_and_exit, "Interrupted. The same command goes on.")
