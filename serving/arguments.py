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
