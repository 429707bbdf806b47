"""What one client may ask for, so that the others keep their share."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serving.errors import exhausted

READ_IMAGES = 0.05
"""Images that what computes nothing counts as, such as a thumbnail: an answer's twenty count as one."""

# A browser asks for six things at a time.
_READS = 8
_MOST_CLIENTS = 10_000
_BURST_SECONDS = 10.0


class Quota:
    """Bounds the predictions of each client, and what it reads beside them.

    Args:
        requests: of a client under way at the same time, beside eight times as many that compute nothing; None for as
            many as the server takes.
        images_per_second: of a client on average over ten seconds, which it may send at once; None for any number.
        clock: seconds.

    Raises:
        ValueError: a bound is not positive.
    """

    def __init__(
        self,
        requests: int | None = None,
        images_per_second: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, bound in (("requests", requests), ("images_per_second", images_per_second)):
            if bound is not None and not bound > 0:
                raise ValueError(f"`{name}` must be positive; leave it out for no bound. Received: {name}={bound}")
        self._requests = requests
        self._rate = images_per_second
        self._clock = clock
        self._under_way: Counter[str] = Counter()
        self._reading: Counter[str] = Counter()
        # When the images that a client sent are paid off: one more second for each `images_per_second` of them.
        self._paid: OrderedDict[str, float] = OrderedDict()

    @contextmanager
    def request(self, client: str) -> Iterator[None]:
        """Counts a request as long as it is under way.

        Args:
            client: who sent it.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, the client has too many.
        """
        with self._counted(self._under_way, client, 1):
            yield

    @contextmanager
    def read(self, client: str, images: float = READ_IMAGES) -> Iterator[None]:
        """Counts a request that computes nothing as long as it is under way.

        Args:
            client: who sent it.
            images: that it counts as.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, the client has too many, or has sent too many of late.
        """
        with self._counted(self._reading, client, _READS):
            self.spend(client, images)
            yield

    @contextmanager
    def _counted(self, under_way: Counter[str], client: str, each: int) -> Iterator[None]:
        if self._requests is not None and under_way[client] >= each * self._requests:
            raise exhausted(
                f"A client may have at most {each * self._requests} requests under way (`max_client_requests`); wait "
                "for one",
                "max_client_requests",
            )
        under_way[client] += 1
        try:
            yield
        finally:
            under_way[client] -= 1
            if not under_way[client]:
                del under_way[client]

    def spend(self, client: str, images: float) -> None:
        """Counts the images of a request.

        Args:
            client: who sent it.
            images: in the request.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, the client has sent too many of late.
        """
        if self._rate is None:
            return
        now = self._clock()
        paid = max(self._paid.get(client, 0.0), now)
        if paid + images / self._rate > now + max(_BURST_SECONDS, images / self._rate):
            raise exhausted(
                f"A client may send at most {self._rate:g} images a second (`max_client_images_per_second`); "
                f"try again in {paid - now:.1f} s",
                "max_client_images_per_second",
            )
        self._paid[client] = paid + images / self._rate
        self._paid.move_to_end(client)
        if len(self._paid) > _MOST_CLIENTS:
            self._paid.popitem(last=False)
