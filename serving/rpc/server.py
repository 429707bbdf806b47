"""The gRPC server around the services."""

import logging
from concurrent.futures import ThreadPoolExecutor

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.limits import Limits
from serving.models.manager import ModelManager
from serving.rpc.services import ModelService, PredictionService
from serving.wire.parsing import Parsing

logger = logging.getLogger(__name__)

_OPTIONS = [
    # Descriptors outgrow gRPC's 4 MiB at once.
    ("grpc.max_send_message_length", -1),
    # Otherwise a second server on the same port would start and silently take half of the requests.
    ("grpc.so_reuseport", 0),
]
_LIMITS = Limits()
# What is left of an answered or cancelled request: its answer is taken apart.
_AFTERMATH_SECONDS = 1.0


class ModelServer:
    """Serves a model through TensorFlow Serving's gRPC interface, without encryption.

    Args:
        manager: the loaded model.
        host: address to listen on; `0.0.0.0` for every network, an IPv6 address in brackets.
        port: port to listen on; 0 takes a free one.
        max_workers: requests computed at the same time. Each needs the memory of one forward pass.
        max_queue: requests that may wait beyond those. Any more are refused with RESOURCE_EXHAUSTED at once.
        limits: of each request.

    Raises:
        ValueError: `max_workers` or `max_queue` is out of range.
        OSError: the address cannot be listened on.
    """

    def __init__(
        self,
        manager: ModelManager,
        host: str = "127.0.0.1",
        port: int = 8500,
        max_workers: int = 4,
        max_queue: int = 64,
        limits: Limits = _LIMITS,
    ) -> None:
        if max_workers < 1:
            raise ValueError(f"`max_workers` must be at least 1. Received: {max_workers=}")
        if max_queue < 0:
            raise ValueError(
                f"`max_queue` must not be negative; 0 refuses what cannot run at once. Received: {max_queue=}"
            )
        self._manager = manager
        self._server = grpc.server(
            ThreadPoolExecutor(max_workers, thread_name_prefix="serving"),
            interceptors=[Parsing()],
            options=[*_OPTIONS, ("grpc.max_receive_message_length", limits.message_bytes)],
            # The only bound there is: without it gRPC queues without end.
            maximum_concurrent_rpcs=max_workers + max_queue,
        )
        self._predictions = PredictionService(manager, limits)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self._predictions, self._server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(manager), self._server)
        try:
            self.port: int = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(
                f"`host` and `port` must be an address that this machine has and no program listens on; "
                f"port 0 takes a free one. Received: {host=}, {port=}"
            ) from error
        self.address = f"{host}:{self.port}"

    def start(self) -> None:
        """Begins to answer requests and logs the address."""
        self._server.start()
        for name, versions in self._manager.available().items():
            logger.info("serving %s version %s at %s", name, ", ".join(map(str, versions)), self.address)

    def stop(self, grace: float = 10.0) -> bool:
        """Refuses new requests, waits for those under way, then stops.

        Args:
            grace: seconds to wait. Requests still under way after that are cancelled: their clients get an error.

        Returns:
            Whether the work of all requests has ended. Otherwise a thread still computes, which nothing can stop but
            the end of the process.
        """
        logger.info("stopping: new requests are refused, those under way get up to %g s", grace)
        self._server.stop(grace).wait(grace + _AFTERMATH_SECONDS)
        ended = self._predictions.wait_until_idle(_AFTERMATH_SECONDS)
        if ended:
            logger.info("stopped")
        else:
            logger.error("stopped, with requests that did not end within %g s", grace)
        return ended
