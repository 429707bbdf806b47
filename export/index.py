"""Extracts the descriptors of a dataset's database images with a TFLite file, for `export/localise.py` on a device.

    python -m export.index --model=exports/tflite/balanced.tflite --root=pitts30k --output=exports/index.npz

The database images of all splits are taken, each once, or those of --split alone. The dataset needs no queries.

The model runs here as it does there, and images are read by the same code: the index holds the device's very
descriptors. `export.index_file` says what is in it.
"""

import logging
from pathlib import Path

from absl import app, flags

from keras_sare.utils.error_text import expected_errors
from keras_sare.utils.progress import show_information
from keras_sare.utils.quiet_start import load_tensorflow

logger = logging.getLogger("keras_sare.export")

FLAGS = flags.FLAGS


def main(_: list[str]) -> None:
    """Writes the index of a dataset."""
    load_tensorflow()  # Here, because it takes seconds that --help should not take.

    from export.index_file import open_map, write_index
    from export.reading import reading_beside
    from export.source import read_size
    from keras_sare.datasets import set_max_pixels

    show_information()
    set_max_pixels(FLAGS.max_pixels)
    model = Path(FLAGS.model)
    root = Path(FLAGS.root)
    output = Path(FLAGS.output)
    size = read_size(FLAGS.image_size) if FLAGS.image_size else None
    reading = reading_beside(model, size, FLAGS.orientation)
    images = open_map(root, FLAGS.prefix, FLAGS.split)
    count = write_index(model, reading, images, root, output, FLAGS.max_corrupt_share)
    left_out = len(images) - count
    logger.info("Wrote %s: %d images, %d left out, %d bytes", output, count, left_out, output.stat().st_size)


if __name__ == "__main__":
    flags.DEFINE_string("model", None, "TFLite file.", required=True)
    flags.DEFINE_string("root", None, "Folder of the dataset: places.csv, or datasets/*.mat.", required=True)
    flags.DEFINE_string("output", None, "The index, a .npz file.", required=True)
    flags.DEFINE_string("prefix", "", "First letters of the .mat files' names, where a folder holds several datasets.")
    flags.DEFINE_list("split", None, "Splits whose database images are taken, for example train,test; all by default.")
    flags.DEFINE_list("image_size", None, "height,width, or the limit of the longer side; by default the manifest's.")
    flags.DEFINE_enum(
        "orientation", None, ["upright", "stored"], "How images are read; by default as the manifest says, or upright."
    )
    flags.DEFINE_float(
        "max_corrupt_share",
        0.01,
        "Largest share of images, 0 to 1, that may be left out.",
    )
    flags.DEFINE_integer(
        "max_pixels",
        None,
        "Most pixels, height times width, of an image file that is decoded; by default 128 million.",
        lower_bound=1,
    )
    flags.DEFINE_bool("debug", False, "Shows where in the code an error arose.")
    with expected_errors("export.index", flags.Error, debug=lambda: FLAGS["debug"].value):
        app.run(main, flags_parser=FLAGS)
