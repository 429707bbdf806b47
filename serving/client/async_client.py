"""The client of the embedding server for programs on asyncio."""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc
import numpy as np

from serving.client.batches import (
    Batch,
    ImageBatch,
    Target,
    check_batch_size,
    check_batches,
    checked_images,
    file_groups,
    names_of,
    read_files,
    read_files_tolerantly,
)
from serving.client.connection import Connection
from serving.client.exchange import (
    IMAGES,
    STRICT,
    TOLERANT,
    Answer,
    FileAnswer,
    Steps,
    Wait,
    embedded,
    methods,
    stacked,
    with_unread,
)
from serving.client.settings import Deadline, RequestSettings

if TYPE_CHECKING:
    from keras_sare.localization import PhotoAnswer
    from serving.localization.asking import Photo

Item = TypeVar("Item")
Result = TypeVar("Result")
_CONNECTION = Connection()
_SETTINGS = RequestSettings()


class AsyncEmbeddingClient:
    """`serving.client.EmbeddingClient` for asyncio; to be used in the event loop that it is made in.

    Args:
        address: `host:port` of the server's gRPC port, or `unix:/path`.
        model: name the model is served under.
        timeout: seconds a single request may take.
        connection: encryption, token and sizes of messages.
        settings: how large requests are, how many are under way at once, and how often they are sent again. Its `sleep`
            is not used.
        sleep: waits for some seconds.

    Example:
        async with AsyncEmbeddingClient("localhost:8500") as client:
            embeddings = await client.embed_files(["a.jpg", "b.jpg"])
    """

    def __init__(
        self,
        address: str,
        model: str = "keras_sare",
        timeout: float = 60.0,
        connection: Connection = _CONNECTION,
        settings: RequestSettings = _SETTINGS,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.address = address
        self.model = model
        self.timeout = timeout
        self.connection = connection
        self.settings = settings
        self._sleep = sleep
        self._channel = connection.async_channel(address)
        self._methods = methods(self._channel)

    async def __aenter__(self) -> "AsyncEmbeddingClient":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()

    async def embed_files(self, paths: Sequence[str | os.PathLike[str]], batch_size: int = 8) -> np.ndarray:
        """Embeds image files; arguments, result and errors are those of `EmbeddingClient.embed_files`."""
        check_batches("paths", paths, batch_size)
        deadline = Deadline(self.settings)

        async def embed(group: list[str]) -> np.ndarray:
            batch = await asyncio.to_thread(read_files, group, self.settings.max_bytes)
            return (await self._embedded(deadline, batch, STRICT)).embeddings

        groups = file_groups(names_of(paths), batch_size, self.settings.max_bytes)
        return stacked([part async for part in self._in_order(embed, groups)])

    async def embed_images(self, images: np.ndarray, batch_size: int = 8) -> np.ndarray:
        """Embeds decoded images; arguments, result and errors are those of `EmbeddingClient.embed_images`."""
        batches = checked_images(images, batch_size, self.settings.max_bytes)
        deadline = Deadline(self.settings)

        async def embed(batch: ImageBatch) -> np.ndarray:
            return (await self._embedded(deadline, batch, IMAGES)).embeddings

        return stacked([part async for part in self._in_order(embed, batches)])

    async def stream_files(
        self, paths: Iterable[str | os.PathLike[str]], batch_size: int = 8, signature: str = TOLERANT
    ) -> AsyncIterator[FileAnswer]:
        """Embeds any number of image files; arguments, results and errors are those of the other client."""
        check_batch_size(batch_size)
        deadline = Deadline(self.settings)

        async def embed(group: list[str]) -> FileAnswer:
            batch, unread = await asyncio.to_thread(read_files_tolerantly, group, self.settings.max_bytes)
            return with_unread(await self._embedded(deadline, batch, signature, tolerant=True), group, unread)

        async for answer in self._in_order(embed, file_groups(names_of(paths), batch_size, self.settings.max_bytes)):
            yield answer

    async def localize(self, photos: "Sequence[Photo]", batch_size: int = 8, **options: Any) -> "list[PhotoAnswer]":
        """Says where photos were taken; arguments, result and errors are those of `EmbeddingClient.localize`."""
        # Here, because a client that does not ask for it needs nothing of it.
        from serving.localization.asking import groups_of, localized

        check_batch_size(batch_size)
        deadline = Deadline(self.settings)

        async def locate(group: list[bytes]) -> "list[PhotoAnswer]":
            answers: list[PhotoAnswer] = await self._perform(deadline, localized(group, options, self.settings))
            return answers

        groups = groups_of(photos, batch_size, options, self.settings.max_bytes)
        return [answer async for part in self._in_order(locate, _made_in_threads(groups)) for answer in part]

    async def _embedded(self, deadline: Deadline, batch: Batch, signature: str, tolerant: bool = False) -> Answer:
        target = Target(self.model, signature, self.settings.version)
        return await self._perform(deadline, embedded(batch, target, self.settings, tolerant))

    async def _perform(self, deadline: Deadline, steps: Steps) -> Any:
        outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value
            if isinstance(step, Wait):
                deadline.check_wait(step.seconds)
                await self._sleep(step.seconds)
                outcome = None
            else:
                outcome = await self._send(deadline, step.request)

    async def _send(self, deadline: Deadline, request: Any) -> Any:
        timeout = deadline.limited(self.timeout)
        try:
            return await self._methods[type(request)](request, timeout=timeout, metadata=self.connection.metadata())
        except grpc.RpcError as error:
            return error

    async def _in_order(
        self, function: Callable[[Item], Awaitable[Result]], items: Iterable[Item] | AsyncIterator[Item]
    ) -> AsyncIterator[Result]:
        """Results in the order of the items, of which as many are under way as the settings say."""
        waiting: deque[asyncio.Future[Result]] = deque()
        try:
            async for item in items if isinstance(items, AsyncIterator) else _each(items):
                waiting.append(asyncio.ensure_future(function(item)))
                if len(waiting) == self.settings.concurrency:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


async def _each(items: Iterable[Item]) -> AsyncIterator[Item]:
    for item in items:
        yield item


async def _made_in_threads(items: Iterable[Item]) -> AsyncIterator[Item]:
    """Items that are read from files when they are asked for."""
    left = iter(items)
    end = object()
    while (item := await asyncio.to_thread(next, left, end)) is not end:
        yield cast(Item, item)
