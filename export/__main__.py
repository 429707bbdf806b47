"""Exports a model, with preprocessing and whitening inside, and measures how near each artefact comes to it.

    python -m export all --run=runs/pitts30k
    python -m export saved_model tflite --model=model.keras --image_size=480,640 --images=photos
    python -m export onnx --weights=vgg16_netvlad.pth --image_size=480,640 --dim=512

Each artefact has a manifest beside it (.json: weights, preprocessing, the run's recall, versions), and the fidelity
report is in fidelity.md, fidelity.json and fidelity.png. An artefact that falls short of --require_cosine or
--require_recall_drop is not written; the others are, and the exit status is 1.
"""

import sys
import tempfile
from pathlib import Path

from absl import app, flags, logging

from export.artefacts import check_options, chosen_formats, plan
from export.formats import FORMATS
from export.formats.format import Option
from keras_sare.utils.error_text import expected_errors
from keras_sare.utils.files import check_writable_folder
from keras_sare.utils.nvidia import warn_of_unseen_device
from keras_sare.utils.progress import show_information
from keras_sare.utils.quiet_start import load_tensorflow

FLAGS = flags.FLAGS


def main(arguments: list[str]) -> None:
    """Opens all that is needed, writes the artefacts, and reports on them."""
    if not FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # TensorFlow tells a lot while it writes.
    logger = show_information()
    names = arguments[1:]
    formats = chosen_formats(names)
    check_options(formats, [name for name in FLAGS if FLAGS[name].present])
    load_tensorflow()  # Here, because it takes seconds that --help and a wrong flag should not take.

    from export.fidelity.chosen_photos import choose_photos
    from export.fidelity.fidelity import Requirements
    from export.fidelity.meter import FidelityMeter
    from export.fidelity.report import write_fidelity
    from export.formats.format import Request
    from export.source import open_source, read_size
    from export.writing import claim, measured, write_artefacts

    warn_of_unseen_device()
    output = Path(FLAGS.output)
    with tempfile.TemporaryDirectory() as folder:
        check_writable_folder(output)
        requirements = Requirements(FLAGS.require_cosine, FLAGS.require_recall_drop)
        size = read_size(FLAGS.image_size) if FLAGS.image_size else None
        origin = FLAGS.run, FLAGS.model, FLAGS.weights, FLAGS.preset
        source = open_source(*origin, size, FLAGS.dim, FLAGS.orientation)
        named = FLAGS.images, FLAGS.root, FLAGS.prefix, FLAGS.split, FLAGS.max_images
        photos = choose_photos(source.settings, *named, Path(folder), source.size, FLAGS.radius)
        requirements.check_photos(photos)
        claim(output)  # Before a version is chosen that is free.
        request = Request(source, output, FLAGS.root, FLAGS.prefix, everything="all" in names)
        artefacts = plan(formats, request, FLAGS.flag_values_dict())
        meter = FidelityMeter(source, photos, FLAGS.threads)
        rejected, messages = write_artefacts(artefacts, source, output, meter, requirements)
    rows = [meter.rows[0], *measured(output, source, meter.rows[0]), *rejected]
    sys.stdout.write(f"\n{write_fidelity(output, rows)}\n\n")
    logger.info("Look at %s and %s", output / "fidelity.png", output / "fidelity.md")
    if messages:
        sys.exit("\n".join(messages))


def define(option: Option) -> None:
    """Makes a flag of an option of a format."""
    if option.kind == "number":
        flags.DEFINE_integer(option.name, option.default, option.help, lower_bound=option.least)
    elif option.kind == "switch":
        flags.DEFINE_bool(option.name, option.default, option.help)
    elif option.kind == "list":
        flags.DEFINE_list(option.name, option.default, option.help)
    elif option.choices:
        flags.DEFINE_enum(option.name, option.default, option.choices, option.help)
    else:
        flags.DEFINE_string(option.name, option.default, option.help)


if __name__ == "__main__":
    rows = [f"    {name:<12} {one.description}" for name, one in FORMATS.items()]
    __doc__ = "\n".join([str(__doc__), "FORMATS, of which `all` means every one:", "", *rows, ""])
    flags.DEFINE_string("run", None, "Folder of the finished training run whose model is exported.")
    flags.DEFINE_string("model", None, "Instead of --run, a .keras file; it needs --image_size.")
    flags.DEFINE_string("weights", None, "Instead of --run, another project's weights; they need --image_size.")
    flags.DEFINE_string("preset", None, "Backbone and pooling, where --weights do not name them: vgg16_mac, ...")
    flags.DEFINE_list(
        "image_size",
        None,
        "height,width of the images, or one number that limits the longer side, or shorter:NUMBER for the shorter "
        "side, which keep the aspect ratio. By default that of the run.",
    )
    flags.DEFINE_enum(
        "orientation", None, ["upright", "stored"], "How images are read; by default as the run read them, or upright."
    )
    flags.DEFINE_integer("dim", None, "Keeps this many dimensions, the first; the model must end in a whitening.")
    flags.DEFINE_string("output", "exports", "Folder of the artefacts.")
    for one in FORMATS.values():
        for option in one.options:
            define(option)
    flags.DEFINE_string("root", None, "Dataset of places to measure recall on; by default the run's.")
    flags.DEFINE_string("prefix", "", "First letters of the .mat files' names, where --root holds several datasets.")
    flags.DEFINE_string("split", "test", "Split of the dataset to measure on.")
    flags.DEFINE_string("images", None, "Instead of --root, a folder of photos to measure cosines on.")
    flags.DEFINE_float(
        "radius", None, "Metres within which a database image is right; by default the run's, or 25.", lower_bound=0
    )
    flags.DEFINE_integer("max_images", None, "Most photos to measure on; by default all.", lower_bound=2)
    flags.DEFINE_float("require_cosine", None, "Least cosine to the Keras model, for the descriptor of each photo.")
    flags.DEFINE_float("require_recall_drop", None, "Most points of recall@1 (0 to 100) that may be lost.")
    flags.DEFINE_alias("require-cosine", "require_cosine")
    flags.DEFINE_alias("require-recall-drop", "require_recall_drop")
    flags.DEFINE_integer("threads", 2, "Threads that each artefact computes with when it is measured.", lower_bound=1)
    flags.DEFINE_bool("debug", False, "Shows where in the code an error arose.")
    with expected_errors("export", flags.Error, debug=lambda: FLAGS["debug"].value):
        app.run(main, flags_parser=FLAGS)
