"""`python -m serving.conformance`: against the embedded server, and TensorFlow Serving where it is installed."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from serving.conformance.__main__ import main
from serving.models.manager import ModelManager
from serving.rest.server import RestServer, TlsFiles
from serving.rpc.credentials import transport
from serving.rpc.server import Access, ModelServer

NOT_OFFERED = ["Classify is offered", "Regress is offered", "MultiInference is offered"]


@pytest.fixture(scope="module")
def server(manager: ModelManager) -> Iterator[SimpleNamespace]:
    server = ModelServer(manager, port=0)
    rest = RestServer(server.backend, port=0)
    server.add(rest)
    server.start()
    yield SimpleNamespace(address=server.address, rest=f"127.0.0.1:{rest.port}")
    server.stop(grace=5)


def compared(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, dict[str, list[str]], str]:
    """Exit status, names by outcome, and the last line."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    *lines, last = capsys.readouterr().out.splitlines()
    names: dict[str, list[str]] = {"same": [], "differs": [], "missing": []}
    for line in lines:
        names[line[:8].rstrip()].append(line[9:].partition("  ")[0])
    return ended.value.code, names, last


def test_the_embedded_server_behaves_as_tensorflow_serving(
    server: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    code, names, last = compared(capsys, server.address, "--rest", server.rest)
    assert (code, names["differs"], names["missing"]) == (0, [], NOT_OFFERED)
    assert len(names["same"]) > 30
    assert last == f"{len(names['same'])} same, 0 differs, 3 missing"


def test_it_asks_a_server_that_encrypts_and_knows_its_clients(
    manager: ModelManager, pem: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [pem / name for name in ("server.crt", "server.key", "client.crt")]
    server = ModelServer(manager, port=0, access=Access(transport(*files)))
    rest = RestServer(server.backend, port=0, tls=TlsFiles(*files))
    server.add(rest)
    server.start()
    flags = [f"--ca={pem / 'server.crt'}", f"--cert={pem / 'client.crt'}", f"--key={pem / 'client.key'}"]
    try:
        code, names, _ = compared(capsys, server.address, f"--rest=127.0.0.1:{rest.port}", "--tls", *flags)
    finally:
        server.stop(grace=5)
    assert (code, names["differs"], names["missing"]) == (0, [], NOT_OFFERED)
    assert "REST predict by rows" in names["same"]


def test_what_does_not_answer_is_missing_and_what_answers_otherwise_differs(
    server: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    code, names, _ = compared(capsys, server.address, "--rest", f"127.0.0.1:{port}")
    assert code == 0
    assert "REST predict by rows" in names["missing"]
    # Another program at this port.
    code, names, _ = compared(capsys, server.address, "--rest", f"{server.rest}/nowhere")
    assert code == 1
    assert "REST predict by rows" in names["differs"]


def test_a_server_that_does_not_serve_the_model_is_told_in_one_line(server: SimpleNamespace) -> None:
    for arguments, text in (
        ([server.address, "--model", "other"], "`address` must be that of a server that serves `model`.*NOT_FOUND"),
        (["nowhere"], "`address` must be HOST:PORT. Received: nowhere$"),
    ):
        with pytest.raises(SystemExit, match=f"^serving.conformance: {text}"):
            main(arguments)


@pytest.mark.skipif(shutil.which("tensorflow_model_server") is None, reason="needs tensorflow_model_server")
def test_tensorflow_serving_behaves_so(model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        port = first.getsockname()[1]
        rest = second.getsockname()[1]
    flags = [
        f"--port={port}",
        f"--rest_api_port={rest}",
        "--model_name=keras_sare",
        f"--model_base_path={model_folder}",
    ]
    with subprocess.Popen(["tensorflow_model_server", *flags]) as process:
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                grpc.channel_ready_future(channel).result(60)
            _, names, _ = compared(capsys, f"127.0.0.1:{port}", "--rest", f"127.0.0.1:{rest}")
        finally:
            process.kill()
    assert names["differs"] == []
