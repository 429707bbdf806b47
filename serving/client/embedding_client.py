"""Client of the embedding server; speaks to this package's server and to TensorFlow Serving alike."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_sare.utils.progress import progress

# gRPC clients accept 4 MiB by default: 256 descriptors of 4096 float32 are already more.
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
_POLL_SECONDS = 0.2


class EmbeddingError(RuntimeError):
    """The server refused or failed a request.

    Args:
        error: what gRPC reported.
        subject: what was being embedded.
    """

    def __init__(self, error: grpc.RpcError, subject: str) -> None:
        super().__init__(f"{error.code().name}: {error.details()}. While embedding {subject}")
        self.code = error.code()


class EmbeddingClient:
    """Turns photos into embeddings on a server. Usable from several threads, and in a `with` block.

    Args:
        address: `host:port` of the server's gRPC port.
        model: name the model is served under.
        timeout: seconds a single request may take.

    Example:
        with EmbeddingClient("localhost:8500") as client:
            client.wait_until_ready()
            embeddings = client.embed_files(["a.jpg", "b.jpg"])
    """

    def __init__(self, address: str, model: str = "keras_sare", timeout: float = 60.0) -> None:
        self.address = address
        self.model = model
        self.timeout = timeout
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def __enter__(self) -> "EmbeddingClient":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def wait_until_ready(self, timeout: float = 60.0) -> int:
        """Waits until the server answers and the model is loaded.

        Args:
            timeout: seconds to wait.

        Returns:
            The highest version that is available.

        Raises:
            TimeoutError: the model did not become available in time; tells what the server said last.
        """
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            versions, seen = self._available_versions(min(self.timeout, max(left, _POLL_SECONDS)))
            if versions:
                return max(versions)
            if left < _POLL_SECONDS:
                raise TimeoutError(
                    f"`model` must become available within `timeout` seconds; check the address and the name, or raise "
                    f"`timeout`. Last answer: {seen}. "
                    f"Received: model={self.model}, address={self.address}, timeout={timeout}"
                )
            time.sleep(_POLL_SECONDS)

    def embed_files(self, paths: Sequence[str | os.PathLike[str]], batch_size: int = 8) -> np.ndarray:
        """Embeds image files. The server decodes and resizes them, so they may differ in size.

        Args:
            paths: JPEG, PNG, WebP or GIF files.
            batch_size: files per request; servers of this package take up to 16 unless told otherwise.

        Returns:
            Embeddings, float32 [len(paths), dimension], in the order of `paths`.

        Raises:
            ValueError: `paths` is empty or `batch_size` is below 1.
            EmbeddingError: the server's text, with the files of the request that failed.
        """

        def embed(batch: Sequence[str | os.PathLike[str]]) -> np.ndarray:
            contents = np.array([Path(path).read_bytes() for path in batch], dtype=object)
            subject = ", ".join(os.fspath(path) for path in batch)
            return self._predict("serving_default", "image_bytes", contents, subject)

        return _in_batches(embed, "paths", paths, batch_size)

    def embed_images(self, images: np.ndarray, batch_size: int = 8) -> np.ndarray:
        """Embeds decoded images of one size.

        Args:
            images: RGB images, [number, height, width, 3], values 0 to 255; sent as float32.
            batch_size: images per request; servers of this package take up to 16 and 8 million values unless told
                otherwise.

        Returns:
            Embeddings, float32 [number, dimension].

        Raises:
            ValueError: `images` is empty or not of this shape, or `batch_size` is below 1.
            EmbeddingError: the server's text, with the numbers of the images of the request that failed.
        """
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(
                f"`images` must be RGB images of shape [number, height, width, 3]; add an axis to a single image. "
                f"Received: images.shape={images.shape}"
            )

        def embed(batch: Sequence[int]) -> np.ndarray:
            subject = f"images {batch[0]} to {batch[-1]}"
            return self._predict("images", "images", images[batch[0] : batch[-1] + 1].astype(np.float32), subject)

        return _in_batches(embed, "images", range(len(images)), batch_size)

    def _predict(self, signature: str, name: str, values: np.ndarray, subject: str) -> np.ndarray:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self.model
        request.model_spec.signature_name = signature
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        try:
            response = self._predictions.Predict(request, timeout=self.timeout)
        except grpc.RpcError as error:
            raise EmbeddingError(error, subject) from error
        return tf.make_ndarray(response.outputs["embedding"])

    def _available_versions(self, timeout: float) -> tuple[list[int], str]:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self.model
        try:
            statuses = self._models.GetModelStatus(request, timeout=timeout).model_version_status
        except grpc.RpcError as error:
            return [], f"{error.code().name}: {error.details()}"
        states = ", ".join(f"version {s.version} in state {s.State.Name(s.state)}" for s in statuses)
        return [status.version for status in statuses if status.state == _AVAILABLE], states


def _in_batches(embed: Callable[[Any], np.ndarray], argument: str, items: Sequence[Any], batch_size: int) -> np.ndarray:
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: {batch_size=}")
    if not len(items):
        raise ValueError(f"`{argument}` must hold at least one image. Received: {argument}={items}")
    starts = range(0, len(items), batch_size)
    batches = progress(starts, "embedding", unit="batch")
    return np.concatenate([embed(items[start : start + batch_size]) for start in batches])
