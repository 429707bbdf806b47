"""Embeds photos on a server: this package's, or TensorFlow Serving.

    python -m serving.client --address=localhost:8500 photo.jpg ... [--output=embeddings.npy]

In Python: `serving.client.EmbeddingClient`.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, NoReturn

import numpy as np

from keras_sare.utils.error_text import expected_errors
from keras_sare.utils.files import atomic_path

PROGRAM = "serving.client"


class _Parser(argparse.ArgumentParser):
    """Tells a wrong flag as every other error is told: in one line, with exit status 1."""

    def error(self, message: str) -> NoReturn:
        sys.exit(f"{PROGRAM}: {message}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Embeds the photos named on the command line, prints them as a table and stores them where asked to.

    Raises:
        SystemExit: an error, which the text of one line tells.
    """
    flags = _parser().parse_args(arguments)
    with expected_errors(PROGRAM, debug=lambda: flags.debug):
        from serving.client.embedding_client import EmbeddingClient

        with _stored(flags.output) as file, EmbeddingClient(flags.address, flags.model, flags.timeout) as client:
            embeddings = client.embed_files(flags.photos, flags.batch_size)
            sys.stdout.write(_table(flags.photos, embeddings) + "\n")
            if file is not None:
                np.save(file, embeddings)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="Embeds photos on a server.")
    parser.add_argument("photos", nargs="+", help="JPEG, PNG, WebP or GIF files")
    parser.add_argument("--address", default="localhost:8500", help="host:port of the server")
    parser.add_argument("--model", default="keras_sare", help="name the model is served under")
    parser.add_argument("--batch_size", type=int, default=8, help="photos per request; see the server's --max_images")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds a request may take")
    parser.add_argument("--output", help="file for the embeddings, float32 [photos, dimension], .npy")
    parser.add_argument("--debug", action="store_true", help="show where in the code an error arose")
    return parser


def _table(paths: Sequence[str], embeddings: np.ndarray) -> str:
    width = max(len(path) for path in paths)
    lines = [f"{'photo':<{width}}  dimension  first values"]
    for path, embedding in zip(paths, embeddings, strict=True):
        values = " ".join(f"{value:.4f}" for value in embedding[:4])
        lines.append(f"{path:<{width}}  {len(embedding):>9}  {values}")
    return "\n".join(lines)


@contextmanager
def _stored(output: str | None) -> Iterator[IO[bytes] | None]:
    """Opens the file before anything is embedded: a place that cannot be written is told of at once."""
    if output is None:
        yield None
        return
    if not output or os.path.isdir(output):
        raise IsADirectoryError(
            f"`output` must be a file, such as embeddings.npy; name one in the folder. Received: output={output!r}"
        )
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(stack.enter_context(atomic_path(output)), "wb"))
        except OSError as error:
            raise OSError(
                f"`output` must be a file in a folder that can be written; name another. "
                f"Received: output={output!r}, which fails with: {error.strerror}"
            ) from error
        yield file


if __name__ == "__main__":
    main()
