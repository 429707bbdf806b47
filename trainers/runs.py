"""Looks through a folder of training runs.

    python -m trainers.runs list runs
    python -m trainers.runs best runs
    python -m trainers.runs compare runs

`list` shows for each run its best epoch, the validation recall there, and the settings in which runs differ; `best`
names the run with the best validation recall; `compare` shows the test recall of all runs' models side by side.
"""

from pathlib import Path

from trainers.config import RunsConfig
from trainers.program import start_program


def run(config: RunsConfig) -> str:
    """Reads the runs and prints what is asked for.

    Returns:
        What was printed.

    Raises:
        FileNotFoundError: the folder holds no run that has been validated.
        ValueError: a setting is wrong, a file is damaged, or runs cannot be compared.
    """
    from trainers.stages.listed_runs import best_run, compared, listed, read_runs

    config.check()
    command, folder = config.passed_on
    runs = read_runs(Path(folder))
    text = {"list": listed, "best": lambda found: str(best_run(found).path), "compare": compared}[command](runs)
    print(text)
    return text


if __name__ == "__main__":
    start_program("trainers.runs", __doc__, RunsConfig, run, "Interrupted. Nothing is changed.")
