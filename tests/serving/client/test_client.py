"""The client, against a running server."""

import errno
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest

from serving.client import EmbeddingClient, EmbeddingError
from serving.client import __main__ as program
from serving.models.manager import ModelManager
from serving.rpc.server import ModelServer


@pytest.fixture
def client(address: str) -> EmbeddingClient:
    with EmbeddingClient(address) as client:
        yield client


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_files_become_embeddings_in_their_order(
    client: EmbeddingClient, files: list[Path], embeddings: np.ndarray, batch_size: int
) -> None:
    result = client.embed_files(files, batch_size=batch_size)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, embeddings, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_images_become_embeddings_in_their_order(
    client: EmbeddingClient, pictures: np.ndarray, embeddings: np.ndarray, batch_size: int, dtype: str
) -> None:
    result = client.embed_images(pictures.astype(dtype), batch_size=batch_size)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, embeddings, atol=1e-6)


def test_a_batch_of_more_than_4_mib_passes(client: EmbeddingClient) -> None:
    images = np.broadcast_to(np.float32([3, 2, 1]), (2, 512, 512, 3))
    expected = np.tile(np.array([3, 4, 3]) / np.linalg.norm([3, 4, 3]), (2, 1))
    np.testing.assert_allclose(client.embed_images(images), expected, atol=1e-6)


def test_one_client_serves_several_threads(client: EmbeddingClient, files: list[Path], embeddings: np.ndarray) -> None:
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(lambda _: client.embed_files(files, 2), range(8)):
            np.testing.assert_allclose(result, embeddings, atol=1e-6)


def test_waiting_returns_the_version(client: EmbeddingClient) -> None:
    assert client.wait_until_ready(timeout=10) == 7


def test_waiting_outlasts_a_server_that_starts_later(manager: ModelManager) -> None:
    server = ModelServer(manager, port=0)
    with EmbeddingClient(server.address) as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.wait_until_ready, 20)
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
        server.start()
        assert waiting.result(20) == 7
        server.stop(grace=0)


@pytest.mark.parametrize(
    ("model", "port", "answer"),
    [("other", None, "NOT_FOUND: Could not find any versions of model other"), ("keras_sare", 1, "UNAVAILABLE: ")],
)
def test_waiting_too_long_ends_with_the_last_answer(address: str, model: str, port: int | None, answer: str) -> None:
    target = f"127.0.0.1:{port}" if port else address
    text = (
        rf"`model` must become available.*Last answer: {answer}.*Received: model={model}, address={target}, timeout=0.3"
    )
    with EmbeddingClient(target, model) as client, pytest.raises(TimeoutError, match=text):
        client.wait_until_ready(timeout=0.3)


def test_an_error_names_the_files_of_the_request_and_keeps_the_servers_text(
    client: EmbeddingClient, files: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    with pytest.raises(EmbeddingError, match="INVALID_ARGUMENT: Unknown image file format") as caught:
        client.embed_files([*files[:2], files[2], broken], batch_size=2)
    assert str(caught.value).endswith(f"While embedding {files[2]}, {broken}")
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT


def test_an_error_names_the_images_of_the_request(address: str, pictures: np.ndarray) -> None:
    text = r"^NOT_FOUND: Servable not found for request: Latest\(other\). While embedding images 0 to 2$"
    with EmbeddingClient(address, "other") as client, pytest.raises(EmbeddingError, match=text):
        client.embed_images(pictures, batch_size=3)


def test_a_request_ends_with_its_timeout(files: list[Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with EmbeddingClient(address, timeout=0.2) as client, pytest.raises(EmbeddingError, match="^DEADLINE_EXCEEDED"):
            client.embed_files(files)


def test_a_missing_file_is_named(client: EmbeddingClient) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg"):
        client.embed_files(["nowhere.jpg"])


def test_no_files_are_refused(client: EmbeddingClient) -> None:
    with pytest.raises(ValueError, match=r"`paths` must hold at least one image. Received: paths=\[\]"):
        client.embed_files([])


def test_no_images_are_refused(client: EmbeddingClient) -> None:
    with pytest.raises(ValueError, match=r"`images` must hold at least one image"):
        client.embed_images(np.zeros((0, 8, 8, 3)))


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 8, 8, 4)])
def test_images_of_another_shape_are_refused(client: EmbeddingClient, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"`images` must be RGB images of shape.*Received: images.shape=\("):
        client.embed_images(np.zeros(shape))


def test_a_batch_size_below_1_is_refused(client: EmbeddingClient, files: list[Path]) -> None:
    with pytest.raises(ValueError, match="`batch_size` must be at least 1. Received: batch_size=0"):
        client.embed_files(files, batch_size=0)


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command line ends with: one line, with exit status 1 and nothing else printed."""
    with pytest.raises(SystemExit) as ended:
        program.main(arguments)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    assert isinstance(ended.value.code, str)
    assert "\n" not in ended.value.code
    return ended.value.code


def test_the_command_line_prints_a_table_and_stores_the_embeddings(
    address: str, files: list[Path], embeddings: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "embeddings.npy"
    arguments = ["--address", address, "--batch_size", "2", "--output", str(output), *map(str, files)]
    program.main(arguments)
    np.testing.assert_allclose(np.load(output), embeddings, atol=1e-6)
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["photo", "dimension", "first", "values"]
    assert [line.split()[:2] for line in lines] == [[str(file), "3"] for file in files]
    assert lines[4].split()[2:] == [f"{value:.4f}" for value in embeddings[4]]


@pytest.mark.parametrize("place", ["", "folder", "file/below.npy", "file/deeper/below.npy", "locked/embeddings.npy"])
def test_an_output_that_cannot_be_written_is_told_of_before_anything_is_embedded(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    if place.startswith("locked"):
        monkeypatch.setattr(program, "atomic_path", refuse_to_write)
    output = str(tmp_path / place) if place else ""
    # Nobody listens at this address: whoever embedded would get UNAVAILABLE.
    line = error_of(["--address", "127.0.0.1:1", "--output", output, str(files[0])], capsys)
    assert line.startswith("serving.client: `output` must be a file")
    assert f"Received: output={output!r}" in line
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "kept"


def refuse_to_write(target: str) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", target)


def test_an_output_that_is_there_stays_where_the_embedding_fails(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "embeddings.npy"
    output.write_text("of an earlier run")
    line = error_of(["--address", "127.0.0.1:1", "--output", str(output), str(files[0])], capsys)
    assert line.startswith("serving.client: UNAVAILABLE: ")
    assert [path.name for path in tmp_path.iterdir()] == ["embeddings.npy"]
    assert output.read_text() == "of an earlier run"


@pytest.mark.parametrize(
    "arguments",
    ["nowhere.jpg", "--batch_size=0 x.jpg", "--timeout=0.1 .", "--timeout=soon a"],
)
def test_the_command_line_tells_of_each_error_in_one_line(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of(["--address", "127.0.0.1:1", *arguments.split()], capsys).startswith("serving.client: ")


def test_the_command_line_tells_of_an_error_of_the_graph_in_one_line(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    line = error_of(["--address", address, str(broken)], capsys)
    assert line.startswith("serving.client: INVALID_ARGUMENT: Unknown image file format")
    assert line.endswith(f"While embedding {broken}")


def test_the_command_line_ends_with_1_and_the_error(
    address: str, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "embeddings.npy"
    line = error_of(["--address", address, "--model", "other", "--output", str(output), str(files[0])], capsys)
    assert "NOT_FOUND: Servable not found for request: Latest(other)" in line
    assert not output.exists()
