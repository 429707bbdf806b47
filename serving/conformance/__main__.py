"""Compares an endpoint with TensorFlow Serving: `python -m serving.conformance HOST:PORT --rest=HOST:PORT`.

Prints a table of behaviours, each the same, different or missing. Exit status 1 where one differs. Nothing is changed
on the server; one photo or a tensor of zeros is predicted a few times.
"""

import argparse
import ssl
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from keras_sare.utils.error_text import expected_errors
from keras_sare.utils.quiet_start import load_tensorflow
from keras_sare.utils.text import printable
from serving.arguments import OneLineParser
from serving.conformance.behaviour import Outcome, Result, compare

PROGRAM = "serving.conformance"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compares the endpoint named on the command line.

    Raises:
        SystemExit: with status 1 where a behaviour differs, or with the text of an error.
    """
    flags = _parser().parse_args(arguments)
    with expected_errors(PROGRAM, debug=lambda: flags.debug):
        for name, address in (("address", flags.address), ("rest", flags.rest)):
            if address is not None and ":" not in address:
                raise ValueError(f"`{name}` must be HOST:PORT. Received: {address}")
        results = []
        for result in _results(flags):
            results.append(result)
            text = f"  {printable(result.text)}" if result.text else ""
            sys.stdout.write(f"{result.outcome.value:8} {result.name}{text}\n")
    counts = [f"{sum(r.outcome is outcome for r in results)} {outcome.value}" for outcome in Outcome]
    sys.stdout.write(f"{', '.join(counts)}\n")
    sys.exit(int(any(result.outcome is Outcome.DIFFERS for result in results)))


def _results(flags: argparse.Namespace) -> Iterator[Result]:
    load_tensorflow()

    from serving.client import Connection
    from serving.conformance.grpc_behaviours import GRPC_BEHAVIOURS
    from serving.conformance.grpc_endpoint import GrpcEndpoint
    from serving.conformance.rest_behaviours import REST_BEHAVIOURS, RestEndpoint

    token = Path(flags.token_file).read_text().strip() if flags.token_file else None
    connection = Connection(flags.tls, flags.ca, flags.cert, flags.key, token)
    metadata = connection.metadata()
    with connection.channel(flags.address) as channel:
        endpoint = GrpcEndpoint(channel, flags.model, metadata)
        for behaviour in GRPC_BEHAVIOURS:
            yield compare(behaviour, endpoint)
        if flags.rest:
            scheme = "https" if flags.tls else "http"
            rest = RestEndpoint(f"{scheme}://{flags.rest}", endpoint, metadata, _context(flags))
            for behaviour in REST_BEHAVIOURS:
                yield compare(behaviour, rest)


def _context(flags: argparse.Namespace) -> ssl.SSLContext | None:
    """Encryption of REST, by the same files as of gRPC."""
    if not flags.tls:
        return None
    context = ssl.create_default_context(cafile=flags.ca)
    if flags.cert:
        context.load_cert_chain(flags.cert, flags.key)
    return context


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("address", metavar="HOST:PORT", help="of gRPC")
    add("--rest", metavar="HOST:PORT", help="of REST; left out, it is not compared")
    add("--model", default="keras_sare", help="name of a model that the server serves")
    add("--tls", action="store_true", help="both encrypt, and their certificates are checked")
    add("--ca", metavar="FILE", help="PEM file of the authorities to trust, with --tls")
    add("--cert", metavar="FILE", help="PEM file of one's own certificate, where the server asks for one")
    add("--key", metavar="FILE", help="PEM file of its private key")
    add("--token_file", metavar="FILE", help="file with a token, sent as `authorization: Bearer TOKEN`")
    add("--debug", action="store_true", help="show where in the code an error arose")
    return parser


if __name__ == "__main__":
    main()
