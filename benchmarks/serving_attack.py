"""What strangers can do to the server, and what an innocent client notices of it.

    python benchmarks/serving_attack.py

The server is a process of its own, of a tiny model. An innocent client, a process too, sends a good photo every 50 ms:
first alone, then while the strangers send what claims more than it carries, damaged photos, what is no request, calls
without a request, uploads of 32 MiB and bytes one by one. They send `--rate` requests a second together: on a machine
that they share with the server, their own work would else be what the innocent client waits for.

The exit status is 1 where one of these does not hold:
- every request of a stranger is refused, none later than half a second after its deadline;
- the server's peak memory is at most what it had before, and five times `--max_bytes_in_flight`, and for each of four
  workers `WORKER_MEBIBYTES`;
- the innocent client gets the right answer each time, and the 99th percentile of its times is at most three times as
  long as when it was alone.
"""

import argparse
import collections
import socket
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attacks
import grpc
import numpy as np
from innocent import PREDICT, Innocent, request_of
from server_process import ServerProcess, write_tiny_model

DEADLINE = 5.0
LATE = 0.5
IN_FLIGHT_MEBIBYTES = 256
WORKER_MEBIBYTES = 64
"""A photo of the most pixels whose sides the header tells truly is not sent; decoded, the good one takes 4 MB."""
THREADS = 8
REFUSALS = {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "FAILED_PRECONDITION", "NOT_FOUND"}
# The last is a connection that the server closes.
REST_REFUSALS = {"400", "404", "408", "413", "429", "504", "closed"}


class Attackers:
    """Strangers who send requests, and what becomes of them.

    Args:
        server: the server.
        innocent: whose times are told beside.
        rate: requests a second.
    """

    def __init__(self, server: ServerProcess, innocent: Innocent, rate: float) -> None:
        self._server = server
        self._innocent = innocent
        self.milliseconds: list[float] = []
        self.errors: list[str] = []
        self.peak = 0.0
        self._rate = rate
        self._pool = ThreadPoolExecutor(THREADS)
        self._channel = grpc.insecure_channel(server.address, options=[("grpc.max_send_message_length", -1)])
        self._predict = self._channel.unary_unary(PREDICT)
        self.latest = 0.0
        self.wrong = False

    def send(self, name: str, requests: Iterable[Any], ask: Callable[[Any], str], allowed: set[str]) -> None:
        """Sends requests and prints how they ended.

        Args:
            name: of the attack.
            requests: what to send.
            ask: sends one and returns its code.
            allowed: codes that are refusals.
        """
        begun = time.monotonic()
        futures = []
        for number, request in enumerate(requests):
            time.sleep(max(begun + number / self._rate - time.monotonic(), 0))
            futures.append(self._pool.submit(self._timed, ask, request))
        codes = collections.Counter(future.result() for future in futures)
        wrong = not set(codes) <= allowed or not self._server.is_running()
        self.wrong |= wrong
        peak = self._server.peak()
        self._server.forget_peak()
        times, errors = self._innocent.take()
        self.peak = max(self.peak, peak)
        self.milliseconds += times
        self.errors += errors
        shown = f"{peak:.0f} | {np.median(times or 0):.1f} | {max(times, default=0):.1f}"
        print(f"| {name} | {len(futures)} | {dict(codes)} | {'NO' if wrong else 'yes'} | {shown} |", flush=True)

    def grpc(self, request: bytes) -> str:
        """Sends bytes as a request of gRPC."""
        try:
            self._predict(request, timeout=DEADLINE)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"

    def rest(self, body: bytes) -> str:
        """Sends a body as a request of REST."""
        url = f"http://127.0.0.1:{self._server.rest_port}/v1/models/keras_sare:predict"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=DEADLINE) as answer:
                return str(answer.status)
        except urllib.error.HTTPError as error:
            return str(error.code)
        except (ConnectionError, urllib.error.URLError):
            return "closed"

    def silent(self, _: int) -> str:
        """A call of gRPC that sends its headers, and no request before its deadline."""
        over = threading.Event()

        def nothing() -> Iterator[bytes]:
            over.wait(DEADLINE)
            yield from ()

        call = self._channel.stream_unary(PREDICT).future(nothing(), timeout=DEADLINE)
        error = call.exception()
        over.set()
        return str(error.code().name)

    def slow(self, _: int) -> str:
        """A request of REST whose body comes byte by byte."""
        with socket.create_connection(("127.0.0.1", self._server.rest_port), DEADLINE) as connection:
            connection.sendall(
                b"POST /v1/models/keras_sare:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n"
            )
            end = time.monotonic() + DEADLINE
            connection.settimeout(0.1)
            while time.monotonic() < end:
                try:
                    connection.sendall(b"[")
                    answer = connection.recv(100)
                    return answer.split()[1].decode() if answer else "closed"
                except TimeoutError:
                    continue
                except OSError:
                    return "closed"
        return "408"

    def _timed(self, ask: Callable[[Any], str], request: Any) -> str:
        begun = time.monotonic()
        code = ask(request)
        self.latest = max(self.latest, time.monotonic() - begun)
        return code


def attack(attackers: Attackers, number: int) -> None:
    """Sends everything.

    Args:
        attackers: who send it.
        number: of malformed images, and of malformed requests.
    """
    ask = attackers.grpc
    attackers.send("one string of 20 000, 54 bytes", [attacks.claimed_strings()] * 50, ask, REFUSALS)
    attackers.send("one number of a photo, 62 bytes", [attacks.claimed_floats()] * 50, ask, REFUSALS)
    attackers.send("half of the values", [attacks.repeated_values()] * 50, ask, REFUSALS)
    pixels = attacks.claimed_pixels()
    photos = [request_of(file).SerializeToString() for file in pixels]
    attackers.send("16383 x 16383 pixels", photos * 10, ask, REFUSALS)
    attackers.send(
        "16383 x 16383 pixels, REST", [attacks.json_of(file) for file in pixels] * 4, attackers.rest, REST_REFUSALS
    )
    images = list(attacks.malformed_images(number))
    attackers.send("malformed photos", (request_of(file).SerializeToString() for file in images), ask, REFUSALS)
    some = images[: number // 5]
    attackers.send("malformed photos, REST", map(attacks.json_of, some), attackers.rest, REST_REFUSALS)
    attackers.send("malformed requests", attacks.malformed_requests(number), ask, REFUSALS)
    attackers.send("malformed requests, REST", attacks.malformed_json(number // 5), attackers.rest, REST_REFUSALS)
    attackers.send("nothing but headers", range(50), attackers.silent, REFUSALS)
    attackers.send("byte by byte, REST", range(20), attackers.slow, REST_REFUSALS)
    attackers.send("32 MiB", attacks.large_requests(40), ask, REFUSALS)


def main() -> None:
    """Prints a table of the attacks, memory and the innocent client's times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=1000, help="Malformed photos, and malformed requests.")
    parser.add_argument("--rate", type=float, default=25.0, help="Requests a second of the strangers.")
    parser.add_argument("--quiet", type=float, default=15.0, help="Seconds that the innocent client is alone.")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_tiny_model(Path(folder, "1"))
        server = ServerProcess(Path(folder), f"--max_bytes_in_flight={IN_FLIGHT_MEBIBYTES * 2**20}")
        innocent = Innocent(server.address)
        time.sleep(flags.quiet)
        quiet, quiet_errors = innocent.take()
        idle = server.resident()
        server.forget_peak()
        attackers = Attackers(server, innocent, flags.rate)
        print("| attack | requests | codes | all refused | peak MiB | innocent median ms | longest |")
        print("|---|---:|---|---|---:|---:|---:|")
        attack(attackers, flags.number)
        innocent.end()
        server.end()
    errors = quiet_errors + attackers.errors
    most = idle + 5 * IN_FLIGHT_MEBIBYTES + 4 * WORKER_MEBIBYTES
    (q50, q99), (d50, d99) = (np.percentile(times, [50, 99]) for times in (quiet, attackers.milliseconds))
    print(
        f"innocent client: quiet {q50:.1f} / {q99:.1f} ms (p50 / p99), during {d50:.1f} / {d99:.1f} ms: "
        f"{d99 / q99:.1f} times at p99; {len(attackers.milliseconds)} answers, errors: {collections.Counter(errors)}"
    )
    print(f"memory: idle {idle:.0f} MiB, peak {attackers.peak:.0f} MiB, at most {most:.0f} MiB")
    print(f"latest answer after {attackers.latest:.2f} s of {DEADLINE:g} s")
    holds = [
        not attackers.wrong,
        attackers.peak <= most,
        d99 <= 3 * q99,
        not errors,
        attackers.latest <= DEADLINE + LATE,
    ]
    sys.exit(0 if all(holds) else 1)


if __name__ == "__main__":
    main()
