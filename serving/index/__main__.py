"""Makes the index of a map: descriptors, positions and thumbnails of photos in one folder.

    python -m serving.index build INDEX --root=DATA --model=exports/saved_model --calibrate=val
    python -m serving.index append INDEX --root=MORE --model=exports/saved_model
    python -m serving.index remove INDEX images/a.jpg images/b.jpg
    python -m serving.index calibrate INDEX --root=DATA --model=exports/saved_model [--rerank=5 --map_photos=DATA]
    python -m serving.index info INDEX
    python -m serving.index evaluate INDEX --root=DATA --model=exports/saved_model --split=test --output=accuracy

DATA is a data set as the other programs take it, with positions, whose database images are taken; or a folder of photos
that carry their positions (EXIF, Mapillary's description, names that begin with @). Whatever is broken off leaves the
index as it was before, and the same command goes on from the descriptors that are there. Photos are known by their
paths below DATA: `append` refuses names that are there, unless --replace says that they are the same photos.

Calibrated are the answers to photos alone, near a rough position (simulated), of walks (the data set's traversals, or
--walk_gap) and, with --rerank, re-ranked ones. evaluate measures each: --rough=METRES, --sequence, --rerank=N.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_sare.utils.error_text import expected_errors
from keras_sare.utils.text import printable
from serving.arguments import OneLineParser, add_reranking, check_reranking

if TYPE_CHECKING:
    from serving.index.calibrating import Ways
    from serving.index.map_photos import MapSettings

PROGRAM = "serving.index"
_KINDS = {"photos": "alone", "near": "near a rough position", "reranked": "re-ranked", "walks": "of walks"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one of the commands.

    Raises:
        SystemExit: an error, which the text of one line tells.
    """
    flags = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], None] = flags.run
    with expected_errors(PROGRAM, debug=lambda: flags.debug):
        run(flags)


def _build(flags: argparse.Namespace) -> None:
    settings = _settings(flags)
    from serving.index.building import build

    build(Path(flags.index), settings, _words(flags.calibrate))
    _info(flags)


def _append(flags: argparse.Namespace) -> None:
    settings = _settings(flags)
    from serving.index.building import append

    append(Path(flags.index), settings, flags.replace)
    _info(flags)


def _calibrate(flags: argparse.Namespace) -> None:
    settings = _settings(flags)
    from serving.index.calibrating import calibrate

    calibrate(Path(flags.index), settings, _words(flags.split), _ways(flags))
    _info(flags)


def _evaluate(flags: argparse.Namespace) -> None:
    if bool(flags.rerank) + flags.sequence + (flags.rough is not None) > 1:
        raise ValueError("--rerank, --sequence and --rough are measured one at a time")
    settings = _settings(flags)
    from serving.index.evaluating import Questions, evaluate

    known = (_words(flags.split), flags.k, flags.precision, flags.radius)
    asked = Questions(*known, _ways(flags), flags.sequence, flags.rough)
    sys.stdout.write(evaluate(Path(flags.index), settings, asked, Path(flags.output)))


def _ways(flags: argparse.Namespace) -> "Ways":
    from serving.index.calibrating import Ways

    return Ways(flags.rerank, flags.map_photos, flags.walk_gap, flags.speed)


def _settings(flags: argparse.Namespace) -> "MapSettings":
    if "rerank" in flags:
        check_reranking(flags)
    # Here, because these take longer than --help should.
    from keras_sare.utils.progress import show_information
    from keras_sare.utils.quiet_start import load_tensorflow

    load_tensorflow()
    from serving.index.map_photos import MapSettings

    show_information()
    return MapSettings(
        root=Path(flags.root),
        model=flags.model,
        prefix=flags.prefix,
        splits=_words(flags.splits),
        image_size=_words(flags.image_size),
        orientation=flags.orientation,
        thumbnails=flags.thumbnails,
        batch=flags.batch,
        max_corrupt_share=flags.max_corrupt_share,
        name_prefix=flags.name_prefix,
    )


def _remove(flags: argparse.Namespace) -> None:
    from keras_sare.localization import PlaceIndex

    index = PlaceIndex(flags.index)
    removed = index.remove(flags.names)
    sys.stdout.write(f"Removed {removed} of {len(flags.names)} photos; {len(index)} are left.\n")


def _info(flags: argparse.Namespace) -> None:
    from keras_sare.localization import PlaceIndex

    index = PlaceIndex(flags.index)
    record = index.record
    size = sum(file.stat().st_size for file in index.folder.rglob("*") if file.is_file())
    calibrated = [
        f"  answers {_KINDS[of]}: calibrated on {one.photos} photos, within {one.radius:g} m\n"
        for of, one in record.calibrations.items()
    ] or ["  answers: not calibrated\n"]
    sys.stdout.write(
        f"{printable(index.folder)}: {len(index)} photos, version {index.version}, {size / 1e6:.1f} MB\n"
        f"  descriptors: {record.dim} of {printable(record.model_name)} ({printable(record.model[:12])})\n"
        f"  positions: {', '.join(record.axes)}, {record.kind}\n"
        f"{''.join(calibrated)}"
    )


def _words(text: str) -> list[str]:
    return text.split(",") if text else []


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--debug", action="store_true", help="shows where in the code an error arose")
    commands = parser.add_subparsers(required=True, metavar="build|append|remove|calibrate|info|evaluate")
    for name, run, text in (
        ("build", _build, "makes an index of a data set"),
        ("append", _append, "adds photos, or replaces those of the same name where asked to"),
        ("remove", _remove, "removes photos by their names"),
        ("calibrate", _calibrate, "learns from a split's queries how sure answers are, as after photos were appended"),
        ("info", _info, "says what an index holds"),
        ("evaluate", _evaluate, "compares the answers to a split's queries with where they were taken"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        command.add_argument("index", help="folder of the index")
        if run in (_build, _append, _calibrate, _evaluate):
            _add_photo_flags(command)
        if run in (_build, _append):
            _add_map_flags(command)
        if run is _append:
            command.add_argument(
                "--replace", action="store_true", help="photos take the place of those of the same names"
            )
        if run is _build:
            command.add_argument(
                "--calibrate", default="", help="splits whose queries say how sure answers are: train,val"
            )
        if run is _calibrate:
            command.set_defaults(splits="", thumbnails=False, name_prefix="")
            command.add_argument("--split", default="val", help="splits whose queries are located")
            _add_way_flags(command)
        if run is _evaluate:
            _add_question_flags(command)
        if run is _remove:
            command.add_argument("names", nargs="+", help="paths below the data set's folder")
    return parser


def _add_photo_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--root", required=True, help="data set (places.csv, or datasets/*.mat), or folder of geotagged photos")
    add("--model", required=True, help="an exported model, a run, or grpc://HOST:PORT/MODEL")
    add("--prefix", default="", help="start of the .mat files' names, where --root holds several data sets")
    add("--image_size", default="", help="height,width or the longer side; by default as the model's record says")
    add("--orientation", choices=["upright", "stored"], help="how photos are read; by default as the record says")
    add("--batch", type=int, default=8, help="photos whose descriptors are extracted at a time")
    add("--max_corrupt_share", type=float, default=0.01, help="largest share of photos that may be unreadable")


def _add_map_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--split", dest="splits", default="", help="whose database images are taken: train,test; by default all")
    add("--no_thumbnails", dest="thumbnails", action="store_false", help="keeps no small pictures")
    add("--name_prefix", default="", help="put before the photos' names, where two folders have the same: walk2/")


def _add_way_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--walk_gap", type=float, metavar="METRES", help="step that ends a walk where the data set has no traversals")
    add("--speed", type=float, default=20.0, help="metres from one photo of a walk to the next, at most")
    add_reranking(parser)


def _add_question_flags(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(splits="", thumbnails=False, name_prefix="")
    _add_way_flags(parser)
    add = parser.add_argument
    add("--sequence", action="store_true", help="locates the photos of each walk together")
    add("--rough", type=float, metavar="METRES", help="each photo's position is known, with an error (simulated)")
    add("--split", default="test", help="splits whose queries are located; not those of --calibrate")
    add("--output", required=True, help="folder for accuracy.json, accuracy.md, accuracy.png and answers.csv")
    add("--k", type=int, default=20, help="candidates looked at for each photo")
    add("--precision", type=float, default=0.9, help="share of the known answers that should be right")
    add("--radius", type=float, default=25.0, help="metres within which an answer is right")


if __name__ == "__main__":
    main()
