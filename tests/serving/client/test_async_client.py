"""The asynchronous client: what the other one does, under asyncio."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import numpy as np
import pytest

from serving.client import AsyncEmbeddingClient, Connection, EmbeddingClient, EmbeddingError, RequestSettings


def of_client(address: str, call: Callable[[AsyncEmbeddingClient], Any], **arguments: Any) -> Any:
    """What a call of a new client returns."""

    async def run() -> Any:
        async with AsyncEmbeddingClient(address, **arguments) as client:
            return await call(client)

    return asyncio.run(run())


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_files_and_images_become_the_same_embeddings(
    address: str, files: list[Path], pictures: np.ndarray, batch_size: int
) -> None:
    async def both(client: AsyncEmbeddingClient) -> Any:
        # At once, on one connection.
        return await asyncio.gather(client.embed_files(files, batch_size), client.embed_images(pictures, batch_size))

    of_files, of_images = of_client(address, both)
    with EmbeddingClient(address) as client:
        np.testing.assert_array_equal(of_files, client.embed_files(files, batch_size))
        np.testing.assert_array_equal(of_images, client.embed_images(pictures, batch_size))


def test_damaged_photos_are_told_and_requests_sent_again(
    scripted_address: str, scripted: Any, photos: list[str], contents: list[bytes]
) -> None:
    Path(photos[3]).write_bytes(b"damaged")
    Path(photos[5]).unlink()
    refusals = iter([(grpc.StatusCode.UNAVAILABLE, "busy")] * 3)
    scripted.refuse = lambda _: next(refusals, None)
    waits = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def stream(client: AsyncEmbeddingClient) -> Any:
        return [answer async for answer in client.stream_files(photos, 4)]

    settings = RequestSettings(concurrency=1, random=lambda: 1.0)
    arguments = {"settings": settings, "sleep": sleep, "connection": Connection(token="secret")}
    answers = of_client(scripted_address, stream, **arguments)
    errors = [error for answer in answers for error in answer.errors]
    assert errors == ["", "", "", "broken", "", "missing", "", "", "", "", ""]
    assert [path for answer in answers for path in answer.paths] == photos
    well = [content for content, error in zip(contents, errors, strict=True) if not error]
    found = np.concatenate([answer.embeddings for answer in answers])
    np.testing.assert_array_equal(found, scripted.embeddings(well))
    assert waits == [0.25, 0.5, 1]
    assert {sent["authorization"] for sent in scripted.metadata} == {"Bearer secret"}


def test_errors_are_those_of_the_other_client(
    scripted_address: str, scripted: Any, photos: list[str], tmp_path: Path
) -> None:
    Path(photos[1]).write_bytes(b"damaged")
    with pytest.raises(
        EmbeddingError, match=r"^INVALID_ARGUMENT: image 1: broken. While embedding \S*00.jpg, \S*01.jpg$"
    ):
        of_client(scripted_address, lambda client: client.embed_files(photos, 2))
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg"):
        of_client(scripted_address, lambda client: client.embed_files([tmp_path / "nowhere.jpg"]))
    with pytest.raises(ValueError, match="`paths` must hold at least one image"):
        of_client(scripted_address, lambda client: client.embed_files([]))
    with pytest.raises(ValueError, match="`images` must be RGB images"):
        of_client(scripted_address, lambda client: client.embed_images(np.zeros((8, 8, 3))))
    late = RequestSettings(deadline=3, clock=iter(range(100)).__next__)
    with pytest.raises(TimeoutError, match="deadline=3"):
        of_client(scripted_address, lambda client: client.embed_files(photos[2:], 1), settings=late)


def test_requests_under_way_are_given_up_with_the_task(scripted_address: str, scripted: Any, photos: list[str]) -> None:
    began = Event()
    cancelled = Event()

    def before(_: Any, context: Any) -> None:
        context.add_callback(cancelled.set)
        began.set()
        cancelled.wait(20)

    scripted.before = before

    async def interrupted(client: AsyncEmbeddingClient) -> None:
        task = asyncio.create_task(client.embed_files(photos, 1))
        await asyncio.to_thread(began.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    of_client(scripted_address, interrupted)
    assert cancelled.wait(20)
