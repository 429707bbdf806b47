"""Says where photos were taken, or which photos of two folders show the same.

    python -m serving.locate INDEX photo.jpg ... --model=exports/saved_model [--output=answers.csv]
    python -m serving.locate --index=town=INDEX --index=tower=INDEX walk/ --model=exports/saved_model --sequence
    python -m serving.locate --database=FOLDER --queries=FOLDER --model=exports/saved_model --output=matches.html

INDEX is a folder of `python -m serving.index build`, the model the one that it was built with. Photos are files,
folders and patterns. Without --output a table is printed; .csv has a line a photo, .geojson a point. A photo that
cannot be read is named and left out. Where the index is calibrated, answers that are less sure than --precision asks
for say so. With --output a run that was killed goes on where it was. --rerank=5 --map_photos=FOLDER compares unsure
photos with their first candidates point by point (XFeat, LighterGlue; photos of a walk are not compared).

Two folders need no positions: each query is shown beside the database's most similar photos, in a page (.html), a
picture (.png) or a table (.csv).
"""

import argparse
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from keras_sare.utils.error_text import expected_errors
from keras_sare.utils.text import printable
from serving.arguments import OneLineParser, add_reranking, check_reranking, named_folder

if TYPE_CHECKING:
    from keras_sare.localization import PhotoAnswer
    from keras_sare.localization.reranking.local_reranker import LocalReranker
    from serving.descriptors.descriptor_model import DescriptorModel
    from serving.locate.locating import Request

PROGRAM = "serving.locate"

logger = logging.getLogger("keras_sare.locate")


def main(arguments: Sequence[str] | None = None) -> None:
    """Locates the photos named on the command line, and prints the answers or writes them where asked to.

    Raises:
        SystemExit: an error, which the text of one line tells.
    """
    flags = _parser().parse_args(arguments)
    with expected_errors(PROGRAM, debug=lambda: flags.debug):
        _check(flags)
        # Here, because these take longer than --help should.
        from keras_sare.utils.progress import show_information
        from keras_sare.utils.quiet_start import load_tensorflow

        load_tensorflow()
        show_information()
        if flags.queries:
            _match(flags)
        else:
            _locate(flags)


def _check(flags: argparse.Namespace) -> None:
    if bool(flags.database) != bool(flags.queries):
        raise ValueError("--database and --queries go together: two folders of photos")
    if flags.queries:
        if flags.photos or flags.index or not flags.output:
            raise ValueError(
                "--database and --queries want --output=matches.html, .png or .csv, no index and no photos"
            )
        return
    check_reranking(flags)
    if len(flags.photos) < (1 if flags.index else 2):
        raise ValueError("An index and at least one photo must be given: python -m serving.locate INDEX photo.jpg")


def _locate(flags: argparse.Namespace) -> None:
    from serving.locate.answer_files import check_output, write_answers
    from serving.locate.locating import axes_of, located, open_maps

    folders = dict(map(named_folder, flags.index or flags.photos[:1]))
    if len(folders) < len(flags.index):
        raise ValueError("`index` must name each map once; give one another name, NAME=FOLDER")
    rerankers = _rerankers(flags, folders)
    maps = open_maps(folders, flags.k, flags.precision, rerankers)
    axes = axes_of(maps)
    request = _request(flags)
    if rerankers:
        request = replace(request, lazy=next(iter(rerankers.values())).lazy)
    output = None if flags.output is None else Path(flags.output)
    if output is not None:
        check_output(output, axes)
    model = _model(flags)
    next(iter(maps.values())).index.check_model(model.identity)
    with _work_folder(output) as folder:
        answers = located(maps, model, request, folder)
        if output is None:
            sys.stdout.writelines(_told(photo, answer) for photo, answer in answers)
        else:
            known = write_answers(output, answers, axes)
            logger.info("Wrote %s: the place of %d photos is known", output, known)


def _rerankers(flags: argparse.Namespace, folders: Mapping[str, Path]) -> dict[str, "LocalReranker"]:
    if not flags.rerank:
        return {}
    from serving.localization.rerankers import open_rerankers

    return open_rerankers(flags.rerank, flags.map_photos, folders)


def _match(flags: argparse.Namespace) -> None:
    from serving.locate.matching import check_matches, match_folders, write_matches

    output = Path(flags.output)
    check_matches(output)
    model = _model(flags)
    with _work_folder(output) as folder:
        matches = match_folders(model, (flags.database, flags.queries), min(flags.k, 5), flags.batch, folder)
    write_matches(output, matches, "upright" if model.reading is None else model.reading.orientation)
    logger.info("Wrote %s: matches of %d photos", output, len(matches.queries))


def _request(flags: argparse.Namespace) -> "Request":
    import numpy as np

    from keras_sare.localization import Motion, Prior
    from serving.locate.locating import Request

    exif = flags.near == "exif"
    near = np.array(_numbers(flags.near)) if flags.near and not exif else None
    return Request(
        photos=flags.photos if flags.index else flags.photos[1:],
        prior=Prior(near, flags.within, flags.time_of_day, flags.hours, flags.penalty),
        near_exif=exif,
        walk=Motion(speed=flags.speed) if flags.sequence else None,
        by_time=flags.order == "time",
        batch=flags.batch,
    )


def _model(flags: argparse.Namespace) -> "DescriptorModel":
    from serving.descriptors import open_models

    return open_models.open_model(flags.model, flags.image_size.split(",") if flags.image_size else None)


@contextmanager
def _work_folder(output: Path | None) -> Iterator[Path]:
    """For descriptors. It is left where a run with an output is broken off, for the same command to go on."""
    if output is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    beside = output.with_name(f".{output.name}.unfinished")
    try:
        yield beside
    except BaseException:
        if not any(beside.glob("*.npy")):  # Nothing that could be gone on from.
            shutil.rmtree(beside, ignore_errors=True)
        raise
    shutil.rmtree(beside, ignore_errors=True)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"`near` must be two numbers, such as 51.5,-0.1, or exif. Received: near={text!r}") from None


def _told(photo: str, answer: "PhotoAnswer") -> str:
    # Names may be a stranger's: of photos, and of those of an index.
    similar = printable(answer.candidates[0].name) if answer.candidates else "none"
    walk = "; the surest of its walk" if answer.surest else ""
    if not answer.known or answer.position is None:
        return f"{printable(photo)}: not known; the most similar photo is {similar}{walk}\n"
    place = ", ".join(f"{axis} {value:.6f}" for axis, value in answer.position.items())
    sure = ""
    if answer.probability is not None:
        within = "" if answer.uncertainty is None else f", within {answer.uncertainty:.0f} m"
        sure = f" (probability {answer.probability:.2f}{within})"
    return f"{printable(photo)}: {place}{sure}, as {similar}{walk}\n"


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add_reranking(parser)
    add(
        "photos",
        nargs="*",
        metavar="INDEX photo",
        help="folder of the place index, then JPEG, PNG, WebP or GIF files, folders, or patterns in quotes: "
        "'photos/**/*.jpg'; after --index photos alone",
    )
    add("--model", required=True, help="the model that the index was built with")
    add("--image_size", default="", help="height,width or the longer side; by default as the model's record says")
    add("--output", metavar="FILE", help="for the answers: .csv or .geojson; default: a table is printed")
    add("--precision", type=float, default=0.9, help="share of the known answers that should be right")
    add("--k", type=int, default=20, help="candidates looked at for each photo; of two folders at most 5 are shown")
    add("--batch", type=int, default=8, help="photos whose descriptors are extracted at a time")
    add("--index", action="append", default=[], metavar="NAME=FOLDER", help="one of several maps of one model")
    add(
        "--near",
        default="",
        help="rough position of all photos, as the index has them: 51.5,-0.1; or exif: each its own",
    )
    add("--penalty", type=float, default=0.05, help="similarity that a candidate loses at --within metres from --near")
    add("--within", type=float, default=1000.0, help="metres around --near")
    add(
        "--time_of_day",
        default="",
        help="21:30: only photos of the index that were taken around that time are looked at",
    )
    add("--hours", type=float, default=3.0, help="before and after --time_of_day")
    add("--sequence", action="store_true", help="the photos of a folder are of one walk or drive, and located together")
    add("--speed", type=float, default=20.0, help="metres from one photo of a walk to the next, at most")
    add("--order", choices=["name", "time"], default="name", help="order of a walk's photos; time is that of EXIF")
    add("--database", metavar="FOLDER", help="photos without any labels")
    add("--queries", metavar="FOLDER", help="photos that are looked for among those of --database")
    add("--debug", action="store_true", help="shows where in the code an error arose")
    return parser


if __name__ == "__main__":
    main()
