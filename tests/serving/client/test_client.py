"""The client, against a running server."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest

from serving.client import EmbeddingClient, EmbeddingError
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
