"""Looks through a folder of training runs.

    python -m trainers.runs list runs
    python -m trainers.runs best runs
    python -m trainers.runs compare runs

`list` shows for each run its best epoch, what validation measured there, and the settings in which runs differ, and the
reconstructions of `trainers.sfm`; `best` names the run with the best validation; `compare` shows what all runs' models
reach on the test sets side by side, and whether a difference is more than chance. Runs of places and of retrieval have
tables of their own.
"""

from pathlib import Path

from trainers.config import RunsConfig
from trainers.program import start_program


def run(config: RunsConfig) -> str:
    """Reads the runs and prints what is asked for.

    Returns:
        What was printed.

    Raises:
        FileNotFoundError: the folder holds no run that has been validated, and to list, no reconstruction.
        ValueError: a setting is wrong, a file is damaged, or runs cannot be compared.
    """
    from trainers.stages.listed_runs import best_run, compared, list_all, read_runs

    config.check()
    command = config.passed_on[0]
    folder = Path(config.passed_on[1])
    if command == "list":
        text = list_all(folder)
    elif command == "best":
        text = str(best_run(read_runs(folder)).path)
    else:
        text = compared(read_runs(folder))
    print(text)
    return text


if __name__ == "__main__":
    start_program("trainers.runs", __doc__, RunsConfig, run, "Interrupted. Nothing is changed.")
