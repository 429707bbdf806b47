"""Trains a place-recognition model as NetVLAD and SARE do on Pittsburgh: from photos to whitened model and recall.

    python -m trainers.pitts --root=PITTS --output=runs/pitts30k

The defaults are the papers' for Pitts30k: SARE on tuples of one positive and ten hard negatives, VGG16 trained down to
conv5_1. Published on Pitts250k-test: recall@1 0.86 for NetVLAD, 0.89 for SARE. A killed run goes on with --resume.
`--epochs=1 --image_size=96,128` makes a quick trial.
"""

import logging

from trainers.config import PittsConfig
from trainers.program import RESUMED, start_program

logger = logging.getLogger("keras_sare.pitts")


def run(config: PittsConfig) -> None:
    """Runs the recipe: dataset, model, training, whitening, evaluation.

    Args:
        config: `PittsConfig(root="pitts30k", output="runs/pitts30k")`, and what is to differ from the recipe.

    Raises:
        ValueError: a setting is wrong, or the data do not suffice for it.
        FileExistsError: the output folder holds files, and `resume` is off.
        OSError: the disk is too small, or something cannot be read or written.
    """
    import keras

    from trainers.stages.places import stages

    run = stages.make_off_the_shelf(stages.open_run(config))
    # A new run reads its model back as a resumed one does: what is random in layers, as in dropout, is not in the file.
    keras.utils.set_random_seed(run.settings.seed)
    model = run.load(run.folder.off_the_shelf)
    run = stages.begin(run, model)
    places = stages.open_inputs_of(run, model)
    kept_epoch = stages.fit(run, model, places)
    choice = stages.whiten(run, model, places, kept_epoch)
    if text := stages.report(run, choice, places["test"]):
        print(text)
        logger.info("Model, tables, verdict, curves and matches: %s", run.folder.path)


if __name__ == "__main__":
    start_program("trainers.pitts", __doc__, PittsConfig, run, RESUMED)
