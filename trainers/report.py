"""Shows evaluations and runs as one HTML page that needs no network.

    python -m trainers.report --evaluation=evaluation --output=report.html
    python -m trainers.report --run=runs/a,runs/b --output=report.html

It holds settings, recall with intervals, the course of training, a map of the queries, distances of their matches, and
photos of the best gains and the worst failures. With --model, maps of what it looks at are laid over them. Several
folders stand side by side; their recalls must be of the same dataset and protocol. It needs the extra `report`:
pip install 'keras-sare[report]'.
"""

import logging
from pathlib import Path
from typing import Any

from trainers.config import ReportConfig
from trainers.program import start_program

logger = logging.getLogger("keras_sare.report")


def run(config: ReportConfig) -> None:
    """Reads the folders and writes the page.

    Raises:
        FileNotFoundError: a folder holds no run or no evaluation.
        ImportError: the extra `report` is not installed.
        ValueError: a setting is wrong, a file is damaged, or the folders cannot be compared.
    """
    from keras_sare.evaluation.html.contents import read_contents
    from keras_sare.evaluation.html.overlays import LookedAt
    from keras_sare.evaluation.html.page import write_report
    from keras_sare.training.checkpoints.run_folder import RunFolder
    from keras_sare.utils.files import check_writable_file

    config.check()
    contents = [read_contents(Path(folder), RunFolder(folder).settings) for folder in config.run]
    contents += [read_contents(Path(folder)) for folder in config.evaluation]
    check_writable_file(config.output)
    looked_at = LookedAt(_model(config.model), config.orientation) if config.model else None
    write_report(Path(config.output), contents, looked_at, config.orientation)
    logger.info("Report: %s", config.output)


def _model(path: str) -> Any:
    """The model in a file, or that of a run."""
    from keras_sare.models.model_file import open_model_file
    from keras_sare.training.checkpoints.run_folder import RunFolder

    return RunFolder(path).load_model() if Path(path).is_dir() else open_model_file(Path(path))


if __name__ == "__main__":
    start_program("trainers.report", __doc__, ReportConfig, run, "Interrupted. Nothing is written yet.")
