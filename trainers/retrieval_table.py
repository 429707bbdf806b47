"""Compares a trained retrieval model on a test set: off the shelf, fine-tuned, whitened, re-ranked, expanded.

    python -m trainers.retrieval_table --run=runs/mac --ground_truth=gnd_roxford5k.pkl --images=oxford5k/jpg

Writes the tables (`retrieval.md`, `.json`), bars, mAP over dimensions and the boxes that re-ranking found, as pictures.
What was computed is kept until the table is written: the same command started again goes on. Other settings go into
another --output.
"""

import logging

from trainers.config import TableConfig
from trainers.program import start_program

logger = logging.getLogger("keras_sare.retrieval_table")


def run(config: TableConfig) -> None:
    """Reads the run and the test set, and writes the table.

    Raises:
        FileNotFoundError: the run has not finished.
        FileExistsError: the output folder holds a table of other settings.
        ValueError: a setting is wrong, images are missing, or too many cannot be read.
    """
    from trainers.stages.retrieval.photos import open_comparison

    config.check()
    models, table = open_comparison(config)
    print(table.compare(models))
    logger.info("Tables and pictures: %s", table.folder)


if __name__ == "__main__":
    start_program("trainers.retrieval_table", __doc__, TableConfig, run, "Interrupted. The same command goes on.")
