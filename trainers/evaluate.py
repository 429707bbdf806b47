"""Evaluates finished models on places: recall tables with a verdict, curves and a picture of matches.

    python -m trainers.evaluate --models=runs/pitts30k,other.keras --root=PITTS --output=evaluation

A model is a `.keras` file, or the folder of a run of trainers.pitts, whose saved model is taken. The first is the
baseline. Images are resized and turned as the first run trained, unless flags say otherwise.
"""

import logging

from trainers.config import EvaluateConfig
from trainers.program import start_program

logger = logging.getLogger("keras_sare.evaluate")


def run(config: EvaluateConfig) -> str:
    """Evaluates the models, and writes `recall.{json,md,png}` and what else `report_places` writes.

    Returns:
        The tables and verdicts, Markdown.

    Raises:
        FileNotFoundError: there is no such model or dataset.
        ValueError: a setting is wrong, or too many images cannot be read.
        OSError: the output cannot be written.
    """
    from trainers.stages.places.evaluation import evaluate_models

    config.check()
    text = evaluate_models(config)
    print(text)
    logger.info("Tables, verdicts, curves and matches: %s", config.output)
    return text


if __name__ == "__main__":
    start_program("trainers.evaluate", __doc__, EvaluateConfig, run, "Interrupted. Nothing is written yet.")
