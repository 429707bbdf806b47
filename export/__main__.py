"""Exports a model, with preprocessing and whitening inside, and measures how near each artefact comes to it.

    python -m export all --run=runs/pitts30k
    python -m export saved_model tflite --model=model.keras --image_size=480,640 --images=photos
    python -m export onnx --weights=vgg16_netvlad.pth --image_size=480,640 --dim=512

FORMATS are keras, saved_model, tflite, onnx, or all. Below --output appear

    keras/model.keras   saved_model/VERSION/   tflite/VARIANT.tflite   onnx/model.onnx

each with a manifest beside it (.json: weights, preprocessing, the run's recall, versions), and the fidelity report as
fidelity.md, fidelity.json and fidelity.png. An artefact that falls short of --require_cosine or --require_recall_drop
is not written; the others are, and the exit status is 1.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path

from absl import app, flags, logging

from keras_sare.utils.error_text import expected_errors
from keras_sare.utils.files import check_writable_folder
from keras_sare.utils.nvidia import warn_of_unseen_device
from keras_sare.utils.progress import show_information
from keras_sare.utils.quiet_start import load_tensorflow

FLAGS = flags.FLAGS


def main(arguments: list[str]) -> None:
    """Opens all that is needed, writes the artefacts, and reports on them."""
    load_tensorflow()  # Here, because it takes seconds that --help should not take.

    from export.artefacts import Options, check_options, chosen_formats, default_variants, plan
    from export.fidelity.chosen_photos import choose_photos
    from export.fidelity.fidelity import Requirements
    from export.fidelity.meter import FidelityMeter
    from export.fidelity.report import write_fidelity
    from export.quantisation.calibration import choose_calibration
    from export.source import open_source, read_size
    from export.writing import claim, measured, write_artefacts
    from keras_sare.datasets.images.image_header import MAX_PIXELS
    from keras_sare.models import SCALES

    if not FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # TensorFlow tells a lot while it writes.
    warn_of_unseen_device()
    logger, names, output = show_information(), arguments[1:], Path(FLAGS.output)
    with tempfile.TemporaryDirectory() as folder:
        formats = chosen_formats(names)
        check_options(formats, [name for name in FLAGS if FLAGS[name].present])
        check_writable_folder(output)
        requirements = Requirements(FLAGS.require_cosine, FLAGS.require_recall_drop)
        size = read_size(FLAGS.image_size) if FLAGS.image_size else None
        origin = FLAGS.run, FLAGS.model, FLAGS.weights, FLAGS.preset
        source = open_source(*origin, size, FLAGS.dim, FLAGS.orientation)
        dataset = FLAGS.root, FLAGS.prefix
        options = Options(
            version=FLAGS.version,
            whitening_dtype=FLAGS.whitening_dtype,
            scales=SCALES[FLAGS.scales] if FLAGS.scales else None,
            warmup=FLAGS.warmup,
            max_pixels=FLAGS.max_pixels or MAX_PIXELS,
            variants=tuple(FLAGS.variants or default_variants(names, FLAGS.calibration)),
            fixed_size=FLAGS.fixed_size,
            calibration=partial(
                choose_calibration,
                source.settings,
                source.size,
                FLAGS.calibration,
                *dataset,
                source.orientation,
                source.antialias,
            ),
        )
        named = FLAGS.images, *dataset, FLAGS.split, FLAGS.max_images
        photos = choose_photos(source.settings, *named, Path(folder), source.size)
        requirements.check_photos(photos)
        claim(output)  # Before a version is chosen that is free.
        artefacts = plan(formats, source, output, options)
        meter = FidelityMeter(source, photos, FLAGS.threads)
        rejected, messages = write_artefacts(artefacts, source, output, meter, requirements)
    rows = [meter.rows[0], *measured(output, source, meter.rows[0]), *rejected]
    sys.stdout.write(f"\n{write_fidelity(output, rows)}\n\n")
    logger.info("Look at %s and %s", output / "fidelity.png", output / "fidelity.md")
    if messages:
        sys.exit("\n".join(messages))


if __name__ == "__main__":
    flags.DEFINE_string("run", None, "Folder of a finished training run: what is exported.")
    flags.DEFINE_string("model", None, "Or a .keras file, with --image_size.")
    flags.DEFINE_string("weights", None, "Or weights of another project, with --image_size.")
    flags.DEFINE_string("preset", None, "Backbone and pooling of --weights that do not name them: vgg16_mac, ...")
    flags.DEFINE_list(
        "image_size",
        None,
        "height,width of the images, or one number that limits the longer side, or shorter:NUMBER for the shorter "
        "side, which keep the aspect ratio. By default that of the run.",
    )
    flags.DEFINE_enum(
        "orientation", None, ["upright", "stored"], "How images are read; by default as the run read them, or upright."
    )
    flags.DEFINE_integer("dim", None, "Keeps the first so many dimensions; the model must end in a whitening.")
    flags.DEFINE_string("output", "exports", "Folder of the artefacts.")
    flags.DEFINE_integer("version", None, "Of the SavedModel; by default the next free one.", lower_bound=0)
    flags.DEFINE_enum(
        "whitening_dtype", "float32", ["float32", "float16", "bfloat16"], "That the SavedModel stores the whitening in."
    )
    flags.DEFINE_enum(
        "scales", None, ["single", "multi", "whitened"], "Adds a signature `multiscale` to the SavedModel."
    )
    flags.DEFINE_bool("warmup", True, "Puts requests into the SavedModel that warm up a server.")
    flags.DEFINE_integer(
        "max_pixels",
        None,
        "Most pixels, height times width, of a file that the SavedModel decodes; by default 128 million.",
        lower_bound=1,
    )
    flags.DEFINE_list("variants", None, "TFLite files, or all; by default float16, and all but small with FORMATS all.")
    flags.DEFINE_bool("fixed_size", False, "TFLite files take one image of --image_size only.")
    flags.DEFINE_string(
        "calibration",
        None,
        "Folder of photos for the TFLite variant small; by default the training split of the dataset, where there is "
        "one.",
    )
    flags.DEFINE_string("root", None, "Dataset of places to measure recall on; by default the run's.")
    flags.DEFINE_string("prefix", "", "How the dataset's .mat files begin, where --root holds several.")
    flags.DEFINE_string("split", "test", "Of the dataset.")
    flags.DEFINE_string("images", None, "Instead of --root a folder of photos, to measure cosines on.")
    flags.DEFINE_integer("max_images", None, "Most photos to measure on; by default all.", lower_bound=2)
    flags.DEFINE_float("require_cosine", None, "Least cosine to the Keras model, for each photo.")
    flags.DEFINE_float("require_recall_drop", None, "Most points of recall@1 (0 to 100) that may be lost.")
    flags.DEFINE_alias("require-cosine", "require_cosine")
    flags.DEFINE_alias("require-recall-drop", "require_recall_drop")
    flags.DEFINE_integer("threads", 2, "That each artefact computes with when it is measured.", lower_bound=1)
    flags.DEFINE_bool("debug", False, "Shows where in the code an error arose.")
    with expected_errors("export", flags.Error, debug=lambda: FLAGS["debug"].value):
        app.run(main, flags_parser=FLAGS)
