"""Embeds photos on a server: this package's, or TensorFlow Serving.

    python -m serving.client --address=localhost:8500 PHOTOS ... [--output=embeddings.npy]

PHOTOS are files, folders and patterns. Damaged photos do not fail the others. The output is .npy with the names in .txt
beside it, .parquet or hloc's .h5. Where a run is broken off, the same command goes on from what is stored beside the
output. In Python: `serving.client.EmbeddingClient`.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from keras_sare.utils.error_text import expected_errors
from serving.arguments import OneLineParser

if TYPE_CHECKING:
    from serving.client.connection import Connection
    from serving.client.photos import PhotoNames
    from serving.client.settings import RequestSettings

PROGRAM = "serving.client"


def main(arguments: Sequence[str] | None = None) -> None:
    """Embeds the photos named on the command line, and prints them as a table or stores them where asked to.

    Raises:
        SystemExit: an error, which the text of one line tells.
    """
    flags = _parser().parse_args(arguments)
    with expected_errors(PROGRAM, debug=lambda: flags.debug):
        _run(flags)


def _run(flags: argparse.Namespace) -> None:
    # Here, because these take longer than --help should.
    from keras_sare.utils.progress import show_information
    from serving.client.batches import check_batch_size
    from serving.client.outputs import check_output
    from serving.client.photos import PhotoNames, find_photos

    show_information()
    connection, settings = _settings(flags)
    check_batch_size(flags.batch_size)
    with PhotoNames(find_photos(flags.photos, flags.list)) as names:
        output = None if flags.output is None else check_output(flags.output)
        _embed(flags, connection, settings, names, output)


def _settings(flags: argparse.Namespace) -> "tuple[Connection, RequestSettings]":
    from serving.client.connection import Connection
    from serving.client.settings import RequestSettings

    token = None if flags.token_file is None else Path(flags.token_file).read_text().strip()
    connection = Connection(flags.tls, flags.ca, flags.cert, flags.key, token, flags.max_message_bytes)
    settings = RequestSettings(
        flags.max_bytes, flags.concurrency, flags.retries, deadline=flags.deadline, version=flags.model_version
    )
    return connection, settings


def _embed(
    flags: argparse.Namespace,
    connection: "Connection",
    settings: "RequestSettings",
    names: "PhotoNames",
    output: Path | None,
) -> None:
    from serving.client.embedding_client import EmbeddingClient
    from serving.client.job import embed_to_file, embed_to_table, signature_for_files

    with EmbeddingClient(flags.address, flags.model, flags.timeout, connection, settings) as client:
        # One version for the whole run: embeddings of two do not compare.
        settings = replace(settings, version=_version(client.versions(), flags.model_version))
        signature = signature_for_files(client)
    with EmbeddingClient(flags.address, flags.model, flags.timeout, connection, settings) as client:
        if output is None:
            embed_to_table(client, names, flags.batch_size, signature)
        else:
            done = embed_to_file(client, names, output, flags.batch_size, signature, _root(flags))
            sys.stdout.write(f"{done}\n")


def _version(available: Sequence[int], wanted: int | None) -> int:
    if wanted is None:
        return max(available)
    if wanted not in available:
        raise ValueError(f"`model_version` must be one of {sorted(available)}, which are available. Received: {wanted}")
    return wanted


def _root(flags: argparse.Namespace) -> str | None:
    """hloc names photos relative to their folder."""
    if flags.root is None and flags.output.endswith((".h5", ".hdf5")) and len(flags.photos) == 1 and not flags.list:
        return flags.photos[0] if Path(flags.photos[0]).is_dir() else None
    return flags.root


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("photos", nargs="*", help="JPEG, PNG, WebP or GIF files, folders, or patterns in quotes: 'photos/**/*.jpg'")
    add("--list", action="append", default=[], metavar="FILE", help="text file with a path a line; may be repeated")
    add("--address", default="localhost:8500", help="host:port of the server, or unix:/path")
    add("--model", default="keras_sare", help="name the model is served under")
    add("--model_version", type=int, help="of the model; default: the newest when the run begins")
    add("--output", metavar="FILE", help="for the embeddings: .npy, .parquet or .h5; default: a table is printed")
    add("--root", metavar="FOLDER", help="names in the output are relative to it; .h5: by default to a single folder")
    add("--batch_size", type=int, default=8, help="photos per request; see the server's --max_images")
    add("--max_bytes", type=int, default=60 * 2**20, help="bytes of the photos in a request, or of a single photo")
    add("--concurrency", type=int, default=2, help="requests under way at the same time")
    add("--timeout", type=float, default=60.0, help="seconds a request may take")
    add("--deadline", type=float, default=math.inf, help="seconds all requests may take together")
    add("--retries", type=int, default=8, help="times a request is sent again that the server could not take")
    add("--tls", action="store_true", help="encrypts, and checks the server's certificate")
    add("--ca", metavar="FILE", help="PEM file of the authorities to trust")
    add("--cert", metavar="FILE", help="PEM file of one's own certificate, for mutual TLS")
    add("--key", metavar="FILE", help="PEM file of its private key")
    add("--token_file", metavar="FILE", help="file with a token, sent as `authorization: Bearer TOKEN`")
    add("--max_message_bytes", type=int, default=256 * 2**20, help="of a request or an answer")
    add("--debug", action="store_true", help="show where in the code an error arose")
    return parser


if __name__ == "__main__":
    main()
