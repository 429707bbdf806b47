"""Asks a server whether it answers requests, by grpc.health.v1: `python -m serving.health --address=localhost:8500`.

Exit status 0 where it does, else 1. For supervisors that have no probe of their own for gRPC, or none for TLS, as
Kubernetes' has not.
"""

import argparse
import sys
from collections.abc import Sequence

from keras_sare.utils.error_text import expected_errors
from serving.arguments import OneLineParser

PROGRAM = "serving.health"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the status of a server or of one of its models.

    Raises:
        SystemExit: it is not serving, or not reached; the text tells which.
    """
    flags = _parser().parse_args(arguments)
    with expected_errors(PROGRAM, debug=lambda: flags.debug):
        status = _status(flags)
        if status != "SERVING":
            sys.exit(f"{PROGRAM}: {flags.address} is {status}")
        sys.stdout.write(f"{status}\n")


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog=PROGRAM, description="Asks a server whether it answers requests.")
    parser.add_argument("--address", default="localhost:8500", help="host:port of the server, or unix:PATH")
    parser.add_argument("--model", default="", help="name of a model; without, any that is served will do")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds to wait for an answer")
    parser.add_argument("--tls", action="store_true", help="the server encrypts")
    parser.add_argument("--ca", help="PEM file of the authorities that are trusted, with --tls")
    parser.add_argument("--cert", help="PEM file of an own certificate, where the server asks for one")
    parser.add_argument("--key", help="PEM file of its private key")
    parser.add_argument("--debug", action="store_true", help="show where in the code an error arose")
    return parser


def _status(flags: argparse.Namespace) -> str:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from serving.client.connection import Connection

    connection = Connection(flags.tls, flags.ca, flags.cert, flags.key)
    with connection.channel(flags.address) as channel:
        request = health_pb2.HealthCheckRequest(service=flags.model)
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=flags.timeout)
        except grpc.RpcError as error:
            return f"not answering: {error.code().name}, {error.details()}"
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


if __name__ == "__main__":
    main()
