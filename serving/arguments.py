"""Command lines of programs that must start at once: argparse, without absl."""

import argparse
import sys
from typing import NoReturn


class OneLineParser(argparse.ArgumentParser):
    """Tells a wrong flag as every other error is told: in one line, with exit status 1."""

    def error(self, message: str) -> NoReturn:
        """See argparse."""
        sys.exit(f"{self.prog}: {message}")
