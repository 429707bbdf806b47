"""Trains a retrieval model on 3D models of photos, as "CNN Image Retrieval Learns from BoW" does: no labels are needed.

    python -m trainers.sfm --images=PHOTOS --output=runs/sfm
    python -m trainers.retrieval_sfm --dataset=runs/sfm/sfm.npz --output=runs/mac

The defaults are the paper's: MAC, all of VGG16 trained with the contrastive loss, positives m3 and negatives N2, photos
with a longer side of 362. Published on Oxford5k: mAP 0.797 with learned whitening. A killed run goes on with --resume.
With --ground_truth the run ends with the table of `trainers.retrieval_table`.
"""

import logging

from trainers.config import RetrievalConfig
from trainers.program import RESUMED, start_program

logger = logging.getLogger("keras_sare.retrieval_sfm")


def run(config: RetrievalConfig) -> None:
    """Runs the recipe: photos, model, training, whitening, table.

    Args:
        config: `RetrievalConfig(dataset="runs/sfm/sfm.npz", output="runs/mac")`, and what is to differ from the
            recipe.

    Raises:
        ValueError: a setting is wrong, or the photos do not suffice for it.
        FileExistsError: the output folder holds files, and `resume` is off.
        OSError: the disk is too small, or something cannot be read or written.
    """
    import keras

    from trainers.stages.retrieval import stages

    run = stages.open_run(config)
    stages.make_off_the_shelf(run)
    # A new run reads its model back as a resumed one does: what is random in layers, as in dropout, is not in the file.
    keras.utils.set_random_seed(run.settings.seed)
    model = run.load(run.folder.off_the_shelf)
    stages.begin(run, model)
    kept_epoch = stages.fit(run, model)
    if text := stages.whiten(run, model, kept_epoch):
        print(text)
    if table := stages.compare(run):
        print(table)
    logger.info("Model and tables: %s", run.folder.path)


if __name__ == "__main__":
    start_program("trainers.retrieval_sfm", __doc__, RetrievalConfig, run, RESUMED)
