"""Evaluates finished models on places: recall tables with a verdict, curves and a picture of matches.

    python -m trainers.evaluate --models=runs/pitts30k,other.keras --root=PITTS --output=evaluation
    python -m trainers.evaluate --models=runs/pitts30k,exports/saved_model,exports/tflite/float16.tflite ...
    python -m trainers.evaluate --models=netvlad.pth,grpc://localhost:8500/keras_sare,hloc/global-feats.h5 ...

A model is a `.keras` file, the folder of a run, an exported model, a file of another project, a server, or a file of
descriptors. The first is the baseline. Images are resized and turned as the first run or manifest among them says,
unless flags say otherwise. Started again after a break, the same command goes on where it was.
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
    start_program("trainers.evaluate", __doc__, EvaluateConfig, run, "Interrupted. The same command goes on from here.")
