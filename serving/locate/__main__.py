"""Says where photos were taken.

    python -m serving.locate INDEX photo.jpg ... --model=exports/saved_model [--output=answers.csv]

INDEX is a folder of `python -m serving.index build`, the model the one that it was built with. Photos are files,
folders and patterns. Without --output a table is printed; .csv has a line a photo, .geojson a point. A photo that
cannot be read is named and left out. Where the index is calibrated, answers that are less sure than --precision asks
for say so.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_sare.utils.error_text import expected_errors
from serving.arguments import OneLineParser

if TYPE_CHECKING:
    from keras_sare.localization import Answers

PROGRAM = "serving.locate"

logger = logging.getLogger("keras_sare.locate")


def main(arguments: Sequence[str] | None = None) -> None:
    """Locates the photos named on the command line, and prints the answers or writes them where asked to.

    Raises:
        SystemExit: an error, which the text of one line tells.
    """
    flags = _parser().parse_args(arguments)
    with expected_errors(PROGRAM, debug=lambda: flags.debug):
        _run(flags)


def _run(flags: argparse.Namespace) -> None:
    # Here, because these take longer than --help should.
    from keras_sare.utils.progress import show_information
    from keras_sare.utils.quiet_start import load_tensorflow

    load_tensorflow()
    import numpy as np

    from keras_sare.datasets.images.readable_images import readable_images
    from keras_sare.localization import DescriptorLocalizer, PlaceIndex, Prior
    from serving.client.photos import find_photos
    from serving.index.map_photos import MapSettings
    from serving.locate.answer_files import check_output, write_answers

    show_information()
    index = PlaceIndex(flags.index)
    localizer = DescriptorLocalizer(index, flags.k, flags.precision)
    prior = Prior(near=np.array(_numbers(flags.near)) if flags.near else None, within=flags.within)
    output = None if flags.output is None else Path(flags.output)
    if output is not None:
        check_output(output, index.record.kind)
    size = tuple(flags.image_size.split(",")) if flags.image_size else ()
    model = MapSettings(Path(), flags.model, image_size=size, batch=flags.batch).open_model()
    index.check_model(model.identity)
    found = np.array([*find_photos(flags.photos)], np.dtypes.StringDType())
    photos = found[readable_images(found, "photos", "queries", max_corrupt_share=1.0)]
    descriptors = np.zeros((len(photos), index.record.dim), np.float32)
    model.extract(photos, flags.batch, descriptors)
    answers = localizer.locate(descriptors, prior)
    if output is None:
        sys.stdout.write(_table(photos.tolist(), answers, index.record.axes))
        return
    write_answers(output, photos.tolist(), answers, index.record.axes)
    logger.info("Wrote %s: %d photos, %d of them known", output, len(photos), int(answers.known.sum()))


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"`near` must be two numbers, such as 51.5,-0.1. Received: near={text!r}") from None


def _table(photos: list[str], answers: "Answers", axes: tuple[str, str]) -> str:
    lines = []
    for i, photo in enumerate(photos):
        if not answers.known[i]:
            lines.append(f"{photo}: not known; the most similar photo is {answers.candidates.names[i, 0] or 'none'}")
            continue
        place = ", ".join(f"{axis} {value:.6f}" for axis, value in zip(axes, answers.positions[i], strict=True))
        sure = ""
        if answers.probability[i] >= 0:
            sure = f" (probability {answers.probability[i]:.2f}, within {answers.uncertainty[i]:.0f} m)"
        lines.append(f"{photo}: {place}{sure}, as {answers.candidates.names[i, 0]}")
    return "".join(f"{line}\n" for line in lines)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("index", help="folder of the place index")
    add("photos", nargs="+", help="JPEG, PNG, WebP or GIF files, folders, or patterns in quotes: 'photos/**/*.jpg'")
    add("--model", required=True, help="the model that the index was built with")
    add("--image_size", default="", help="height,width or the longer side; by default as the model's record says")
    add("--output", metavar="FILE", help="for the answers: .csv or .geojson; default: a table is printed")
    add("--precision", type=float, default=0.9, help="share of the known answers that should be right")
    add("--k", type=int, default=20, help="candidates looked at for each photo")
    add("--near", default="", help="rough position of all photos, as the index has them: 51.5,-0.1")
    add("--within", type=float, default=1000.0, help="metres around --near")
    add("--batch", type=int, default=8, help="photos whose descriptors are extracted at a time")
    add("--debug", action="store_true", help="shows where in the code an error arose")
    return parser


if __name__ == "__main__":
    main()
