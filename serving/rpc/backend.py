"""What answers calls, whatever the protocol they come by."""

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from serving.localization.maps import Maps
    from serving.localization.service import LocalizationService


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
        maps: what photos are located on, and the name of the model that does it; None for none.

    Attributes:
        localization: the service that locates photos; None without maps.

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
        maps: "tuple[Maps, str] | None" = None,
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
        self.quota = quota
        self.admission = Admission(max_workers, max_queue, limits.bytes_in_flight)
        self.metrics = Metrics(manager, self.admission)
        turns = max(1, limits.bytes_in_flight // limits.message_bytes)
        receiving = Receiving(turns, self.places, limits.receive_seconds)
        self.calls = Calls(receiving, tokens, log, self.metrics.observe)
        self.predictions = PredictionService(manager, limits, self.admission, quota, batching)
        self.models = ModelService(manager)
        self.localization = None if maps is None else _localization(*maps, manager, limits, self.admission, quota)

    @property
    def services(self) -> list[Service]:
        """Those of gRPC that are offered, and last the one that says that it is not."""
        located = [] if self.localization is None else [self.localization]
        return [self.predictions, self.models, *located, SessionService()]


def _localization(maps: "Maps", model: str, *others: Any) -> "LocalizationService":
    # With it comes the library of the place index.
    from serving.localization.service import LocalizationService

    return LocalizationService(maps, model, *others)
