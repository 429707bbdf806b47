"""What answers calls, whatever the protocol they come by."""

from serving.limits import Limits
from serving.models.manager import ModelManager
from serving.rpc.access_log import AccessLog
from serving.rpc.calls import Calls, Service
from serving.rpc.credentials import Tokens
from serving.rpc.metrics import Metrics
from serving.rpc.receiving import Receiving
from serving.rpc.services import ModelService, PredictionService, SessionService
from serving.scheduling.admission import Admission
from serving.scheduling.batching import BatchingParameters
from serving.scheduling.quota import Quota


class Backend:
    """The services of a server and what bounds their calls; used on one event loop.

    Args:
        manager: the loaded models.
        limits: of each request.
        max_workers: requests computed at the same time.
        max_queue: requests that may wait beyond those.
        tokens: of the clients; None answers everybody.
        quota: of each client.
        log: gets a line for each call; None for none.
        batching: how requests are computed together; None for one by one.

    Raises:
        ValueError: `max_workers` or `max_queue` is out of range.
    """

    def __init__(
        self,
        manager: ModelManager,
        limits: Limits,
        max_workers: int,
        max_queue: int,
        tokens: Tokens | None,
        quota: Quota,
        log: AccessLog | None,
        batching: BatchingParameters | None = None,
    ) -> None:
        if max_workers < 1:
            raise ValueError(f"`max_workers` must be at least 1. Received: {max_workers=}")
        if max_queue < 0:
            raise ValueError(
                f"`max_queue` must not be negative; 0 refuses what cannot run at once. Received: {max_queue=}"
            )
        self.manager = manager
        self.limits = limits
        self.places = max_workers + max_queue
        self.admission = Admission(max_workers, max_queue, limits.bytes_in_flight)
        self.metrics = Metrics(manager, self.admission)
        turns = max(1, limits.bytes_in_flight // limits.message_bytes)
        receiving = Receiving(turns, self.places, limits.receive_seconds)
        self.calls = Calls(receiving, tokens, log, self.metrics.observe)
        self.predictions = PredictionService(manager, limits, self.admission, quota, batching)
        self.models = ModelService(manager)

    @property
    def services(self) -> list[Service]:
        """Those of gRPC."""
        return [self.predictions, self.models, SessionService()]
