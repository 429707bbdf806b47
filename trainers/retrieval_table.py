"""Compares a trained retrieval model on a test set: off the shelf, fine-tuned, whitened, re-ranked, expanded.

    python -m trainers.retrieval_table --run=runs/mac --ground_truth=gnd_roxford5k.pkl --images=oxford5k/jpg

Writes the tables (`retrieval.md`, `.json`), bars, mAP over dimensions and the boxes that re-ranking found, as pictures.
What was computed is kept until the table is written: the same command started again goes on. Other settings go into
another --output.
"""

import logging

from absl import app, flags

from keras_sare.datasets import ImageFolder, read_landmarks
from keras_sare.datasets.images.orientation import ORIENTATIONS
from keras_sare.evaluation import ComparisonSettings
from keras_sare.models import SCALES
from keras_sare.retrieval import DiffusionSettings
from keras_sare.training import RunFolder
from keras_sare.training.checkpoints.run_folder import orientation_of
from keras_sare.utils.error_text import expected_errors
from keras_sare.utils.nvidia import warn_of_unseen_device
from keras_sare.utils.progress import show_information
from trainers.retrieval_stages import load_models, open_photos, open_table, readable_photos

logger = logging.getLogger("keras_sare.retrieval_table")

FLAGS, DEFAULTS = flags.FLAGS, ComparisonSettings()
flags.DEFINE_string("run", None, "Folder of a finished run of trainers.retrieval_sfm.", required=True)
flags.DEFINE_string("ground_truth", None, "gnd_*.json or .pkl, or a folder of *_query.txt.", required=True)
flags.DEFINE_string("images", None, "Folder of the test set's images; by default images/ or jpg/ beside it.")
flags.DEFINE_string("distractors", None, "Folder of images that join the database, such as the 100k of Flickr.")
flags.DEFINE_string("pca_images", None, "Folder of images of other places, for PCA whitening.")
flags.DEFINE_string("output", None, "Where the tables go; by default a folder in the run's.")
flags.DEFINE_integer("longer_side", DEFAULTS.longer_side, "Of the images, in pixels, at most.", lower_bound=32)
flags.DEFINE_enum("scales", DEFAULTS.scales, sorted(SCALES), "Scales that each image is described at.")
flags.DEFINE_enum("orientation", None, ORIENTATIONS, "Photos upright or as stored; by default as the run read them.")
flags.DEFINE_enum("crop", DEFAULTS.crop, ["image", "activations", "none"], "What a query's box does.")
flags.DEFINE_integer("rerank", DEFAULTS.rerank, "Images of a ranking to look at again; 0: none.", lower_bound=0)
flags.DEFINE_integer("expand", DEFAULTS.expand, "Images that expand a query; 0: none.", lower_bound=0)
flags.DEFINE_integer("diffusion_k", 0, "Neighbours in the graph of diffusion, 50 in the paper; 0: no diffusion.")
flags.DEFINE_integer("diffusion_query_k", 10, "Images that a query is joined to in it.", lower_bound=1)
flags.DEFINE_integer("batch", DEFAULTS.batch_size, "Images of one shape described at a time.", lower_bound=1)
flags.DEFINE_float("max_corrupt_share", 0.01, "Share of unreadable images at which the program stops.")


def main(_: list[str]) -> None:
    """Reads the run and the test set, and writes the table."""
    show_information()
    warn_of_unseen_device()
    run = RunFolder(FLAGS.run)
    models = load_models(run)
    landmarks = read_landmarks(FLAGS.ground_truth, FLAGS.images)
    if FLAGS.distractors:
        landmarks = landmarks.with_distractors(ImageFolder(FLAGS.distractors).paths())
    photos = readable_photos(open_photos(run.settings), run.settings["max_corrupt_share"])["train"]
    settings = ComparisonSettings(
        longer_side=FLAGS.longer_side,
        scales=FLAGS.scales,
        crop=FLAGS.crop,
        orientation=FLAGS.orientation or orientation_of(run.settings),
        rerank=FLAGS.rerank,
        expand=FLAGS.expand,
        diffusion=DiffusionSettings(k=FLAGS.diffusion_k, query_k=FLAGS.diffusion_query_k)
        if FLAGS.diffusion_k
        else None,
        batch_size=FLAGS.batch,
    )
    share, output = FLAGS.max_corrupt_share, FLAGS.output
    table = open_table(landmarks, photos, FLAGS.pca_images, share, settings, run, output)
    print(table.compare(models))
    logger.info("Tables and pictures: %s", table.folder)


if __name__ == "__main__":
    app.run(expected_errors("trainers.retrieval_table")(main))
