"""Command lines of programs that must start at once: argparse, without absl."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn


class OneLineParser(argparse.ArgumentParser):
    """Tells a wrong flag as every other error is told: in one line, with exit status 1."""

    def error(self, message: str) -> NoReturn:
        """See argparse."""
        sys.exit(f"{self.prog}: {message}")


def named_folder(text: str) -> tuple[str, Path]:
    """Name and folder of a map, given as NAME=FOLDER, or as FOLDER, which is named as it is itself."""
    name, is_named, folder = text.partition("=")
    return (name, Path(folder)) if is_named else (Path(text).absolute().name, Path(text))


def add_reranking(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of re-ranking."""
    add = parser.add_argument
    add("--rerank", type=int, default=0, metavar="N", help="compares the first N candidates of unsure photos")
    add(
        "--map_photos",
        action="append",
        default=[],
        metavar="[NAME=]FOLDER",
        help="for --rerank: the folder that a map's photos lie in, as at the building of the index",
    )


def check_reranking(flags: argparse.Namespace) -> None:
    """Checks that they stand together.

    Raises:
        ValueError: one is there without the other.
    """
    if bool(flags.rerank) != bool(flags.map_photos):
        raise ValueError("--rerank and --map_photos go together: how many candidates, and their photos' folder")
