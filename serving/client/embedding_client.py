"""Client of the embedding server; speaks to this package's server and to TensorFlow Serving alike."""

import os
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_sare.utils.progress import progress
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
from serving.client.calls import Calls
from serving.client.connection import Connection
from serving.client.exchange import (
    IMAGES,
    STRICT,
    TOLERANT,
    Answer,
    EmbeddingError,
    FileAnswer,
    available_versions,
    embedded,
    methods,
    signatures,
    stacked,
    with_unread,
)
from serving.client.settings import RequestSettings

if TYPE_CHECKING:
    from keras_sare.localization import PhotoAnswer
    from serving.localization.asking import Photo

__all__ = ["EmbeddingClient", "EmbeddingError"]

_POLL_SECONDS = 0.2
_CONNECTION = Connection()
_SETTINGS = RequestSettings()


class EmbeddingClient:
    """Turns photos into embeddings on a server. Usable from several threads, and in a `with` block.

    Args:
        address: `host:port` of the server's gRPC port, or `unix:/path`.
        model: name the model is served under.
        timeout: seconds a single request may take.
        connection: encryption, token and sizes of messages.
        settings: how large requests are, how many are under way at once, and how often they are sent again.

    Example:
        with EmbeddingClient("localhost:8500") as client:
            client.wait_until_ready()
            embeddings = client.embed_files(["a.jpg", "b.jpg"])
    """

    def __init__(
        self,
        address: str,
        model: str = "keras_sare",
        timeout: float = 60.0,
        connection: Connection = _CONNECTION,
        settings: RequestSettings = _SETTINGS,
    ) -> None:
        self.address = address
        self.model = model
        self.timeout = timeout
        self.connection = connection
        self.settings = settings
        self._channel = connection.channel(address)
        self._methods = methods(self._channel)

    def __enter__(self) -> "EmbeddingClient":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def versions(self) -> list[int]:
        """The versions of the model that are available.

        Raises:
            EmbeddingError: the server does not know the model, or does not answer.
            RuntimeError: none is available; tells the state of each.
        """
        available, states = self._calls(self.settings).perform(available_versions(self.model, self.settings))
        if not available:
            raise RuntimeError(
                f"`model` must have a version that is available; wait until it has. Received: model={self.model}, "
                f"of which the server says: {states or 'no version'}"
            )
        return available

    def signatures(self) -> dict[str, tuple[set[str], set[str]]]:
        """The names of inputs and outputs of each signature of the model.

        Raises:
            EmbeddingError: the server refused or failed the request.
        """
        return self._calls(self.settings).perform(signatures(self._target(""), self.settings))

    def wait_until_ready(self, timeout: float = 60.0) -> int:
        """Waits until the server answers and the model is loaded.

        Args:
            timeout: seconds to wait.

        Returns:
            The highest version that is available.

        Raises:
            TimeoutError: the model did not become available in time; tells what the server said last.
        """
        deadline = self.settings.clock() + timeout
        sleep = time.sleep if self.settings.sleep is None else self.settings.sleep
        while True:
            left = deadline - self.settings.clock()
            versions, seen = self._available_versions(min(self.timeout, max(left, _POLL_SECONDS)))
            if versions:
                return max(versions)
            if left < _POLL_SECONDS:
                raise TimeoutError(
                    f"`model` must become available within `timeout` seconds; check the address and the name, or raise "
                    f"`timeout`. Last answer: {seen}. "
                    f"Received: model={self.model}, address={self.address}, timeout={timeout}"
                )
            sleep(_POLL_SECONDS)

    def embed_files(self, paths: Sequence[str | os.PathLike[str]], batch_size: int = 8) -> np.ndarray:
        """Embeds image files. The server decodes and resizes them, so they may differ in size.

        Args:
            paths: JPEG, PNG, WebP or GIF files.
            batch_size: files per request; servers of this package take up to 16 unless told otherwise.

        Returns:
            Embeddings, float32 [len(paths), dimension], in the order of `paths`.

        Raises:
            ValueError: `paths` is empty, `batch_size` is below 1, or a file has more than `max_bytes` of the settings.
            OSError: a file cannot be read.
            EmbeddingError: the server's text, with the files of the request that failed.
            TimeoutError: the deadline of the settings is over.
        """
        check_batches("paths", paths, batch_size)
        groups = list(file_groups(names_of(paths), batch_size, self.settings.max_bytes))
        calls = self._calls(self.settings)

        def embed(group: list[str]) -> np.ndarray:
            return self._embedded(calls, read_files(group, self.settings.max_bytes), STRICT).embeddings

        return stacked(list(progress(calls.in_order(embed, groups), "embedding", len(groups), "batch")))

    def embed_images(self, images: np.ndarray, batch_size: int = 8) -> np.ndarray:
        """Embeds decoded images of one size.

        Args:
            images: RGB images, [number, height, width, 3], values 0 to 255; sent as float32. A memory map is read batch
                by batch.
            batch_size: images per request; servers of this package take up to 16 and 8 million values unless told
                otherwise.

        Returns:
            Embeddings, float32 [number, dimension].

        Raises:
            ValueError: `images` is empty or not of this shape, or `batch_size` is below 1.
            EmbeddingError: the server's text, with the numbers of the images of the request that failed.
            TimeoutError: the deadline of the settings is over.
        """
        batches = checked_images(images, batch_size, self.settings.max_bytes)
        calls = self._calls(self.settings)

        def embed(batch: ImageBatch) -> np.ndarray:
            return self._embedded(calls, batch, IMAGES).embeddings

        return stacked(list(progress(calls.in_order(embed, batches), "embedding", len(batches), "batch")))

    def stream_files(
        self, paths: Iterable[str | os.PathLike[str]], batch_size: int = 8, signature: str = TOLERANT
    ) -> Generator[FileAnswer, None, None]:
        """Embeds any number of image files in bounded memory; damaged ones do not fail the others.

        Args:
            paths: JPEG, PNG, WebP or GIF files; read a few batches ahead of the answers.
            batch_size: files per request.
            signature: "tolerant"; "serving_default" for a model without it: a refused batch is then sent in parts.

        Yields:
            An answer for each batch, in the order of `paths`.

        Raises:
            ValueError: `batch_size` is below 1.
            EmbeddingError: the server refused or failed a request for another reason than a file's content.
            TimeoutError: the deadline of the settings is over.
        """
        check_batch_size(batch_size)
        calls = self._calls(self.settings)

        def embed(group: list[str]) -> FileAnswer:
            batch, unread = read_files_tolerantly(group, self.settings.max_bytes)
            return with_unread(self._embedded(calls, batch, signature, tolerant=True), group, unread)

        groups = file_groups(names_of(paths), batch_size, self.settings.max_bytes)
        yield from calls.in_order(embed, groups)

    def localize(self, photos: "Sequence[Photo]", batch_size: int = 8, **options: Any) -> "list[PhotoAnswer]":
        """Says where photos were taken, on the maps of the server (`python -m serving --index`).

        Args:
            photos: JPEG, PNG, WebP or GIF files, or their contents. One that is damaged has an `error` of its own.
            batch_size: photos per request; those of a `sequence` are one request.
            options: fields of `serving/localization/localization.proto`, such as `k`, `precision`, `near`, `maps`.

        Raises:
            ValueError: there is no such option, `batch_size` is below 1, or a file, or a sequence, has more than
                `max_bytes`.
            OSError: a file cannot be read.
            EmbeddingError: the server refused or failed a request.
            TimeoutError: the deadline of the settings is over.
        """
        # Here, because a client that does not ask for it needs nothing of it.
        from serving.localization.asking import groups_of, localized

        check_batch_size(batch_size)
        calls = self._calls(self.settings)

        def locate(group: list[bytes]) -> "list[PhotoAnswer]":
            answers: list[PhotoAnswer] = calls.perform(localized(group, options, self.settings))
            return answers

        groups = groups_of(photos, batch_size, options, self.settings.max_bytes)
        return [answer for group in calls.in_order(locate, groups) for answer in group]

    def _target(self, signature: str) -> Target:
        return Target(self.model, signature, self.settings.version)

    def _calls(self, settings: RequestSettings, timeout: float | None = None) -> Calls:
        timeout = self.timeout if timeout is None else timeout
        return Calls(self._methods, self.connection.metadata(), timeout, settings)

    def _embedded(self, calls: Calls, batch: Batch, signature: str, tolerant: bool = False) -> Answer:
        return calls.perform(embedded(batch, self._target(signature), self.settings, tolerant))

    def _available_versions(self, timeout: float) -> tuple[list[int], str]:
        once = replace(self.settings, retries=0)
        try:
            return self._calls(once, timeout).perform(available_versions(self.model, once))
        except EmbeddingError as error:
            return [], str(error)
