"""Whether training has helped beyond chance, as far as the validation images can say."""

import logging
from collections.abc import Callable

import keras

from keras_sare.evaluation.verdict import paired_difference
from keras_sare.extraction import Extractor
from keras_sare.training import Places, PlaceSettings, RecallValidation
from trainers.config import PittsConfig
from trainers.stages.run import Run

logger = logging.getLogger("keras_sare.pitts")


def warn_of_chance(
    run: Run[PittsConfig, PlaceSettings], model: keras.Model, places: Places, fed: Callable[[keras.Model], keras.Model]
) -> None:
    """Warns where a trained model is not better than the one before training beyond chance. All workers must call it.

    Compares the reciprocal ranks of the first right image, query by query: 95 % interval of the mean difference.

    Args:
        run: whose folder holds the model before training.
        model: the trained one.
        places: validation images.
        fed: the part of a model that takes what the places give.
    """
    validation = RecallValidation(places)
    trained, before = (
        validation.report_and_ranks(*places.extract_all(Extractor(fed(one), run.strategy)))[1]
        for one in (model, run.load(run.folder.off_the_shelf))
    )
    gain = paired_difference(trained, before)
    low, high = gain.interval
    told = (
        f"By validation training changes the mean reciprocal rank by {gain.difference:+.3f} (95 % interval {low:+.3f} "
        f"to {high:+.3f}, {len(trained)} queries)"
    )
    if low > 0:
        logger.info("%s: beyond chance", told)
        return
    logger.warning("%s: no gain beyond chance. The model before training is %s", told, run.folder.off_the_shelf)
