"""Requests that threads send and wait for."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

import grpc

from serving.client.exchange import Steps, Wait
from serving.client.settings import Deadline, RequestSettings

Item = TypeVar("Item")
Result = TypeVar("Result")


class Calls:
    """The requests of one call of a client: sent by several threads, answered in order, and ended together.

    Args:
        methods: what sends each kind of request, see `serving.client.exchange.methods`.
        metadata: sent beside each request.
        timeout: seconds that a request may take.
        settings: of the requests.
    """

    def __init__(
        self,
        methods: Mapping[Any, Any],
        metadata: Sequence[tuple[str, str]],
        timeout: float,
        settings: RequestSettings,
    ) -> None:
        self._methods = methods
        self._metadata = metadata
        self._timeout = timeout
        self._concurrency = settings.concurrency
        self._deadline = Deadline(settings)
        self._alone = True
        self._stopped = threading.Event()
        self._sleep = self._stopped.wait if settings.sleep is None else settings.sleep
        self._lock = threading.Lock()
        self._under_way: set[Any] = set()

    def perform(self, steps: Steps) -> Any:
        """Does what a generator of `serving.client.exchange` asks for, and returns what it returns.

        Raises:
            TimeoutError: the deadline of all requests is over.
            CancelledError: the others were given up.
        """
        outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value
            if isinstance(step, Wait):
                self._wait(step.seconds)
                outcome = None
            else:
                outcome = self._send(step.request)

    def in_order(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Calls a function with each item, in several threads, and yields the results in the order of the items.

        Where one fails, or whoever asks for the results ends, the others are given up.
        """
        items = iter(items)
        first = list(islice(items, 2))
        if len(first) < 2:  # No thread need be started.
            yield from map(function, first)
            return
        self._alone = False
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="embedding") as pool:
            waiting: deque[Future[Result]] = deque()
            try:
                for item in chain(first, items):
                    waiting.append(pool.submit(function, item))
                    # As many again wait for their turn, so that no thread waits for the result that is asked for.
                    if len(waiting) == 2 * self._concurrency:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                self._stop()
                pool.shutdown(cancel_futures=True)

    def _wait(self, seconds: float) -> None:
        self._deadline.check_wait(seconds)
        self._sleep(seconds)

    def _send(self, request: Any) -> Any:
        method = self._methods[type(request)]
        timeout = self._deadline.limited(self._timeout)
        try:
            # Alone, nobody could cancel it; a call that can be cancelled has gRPC start a thread.
            send = method if self._alone else partial(self._sent, method)
            return send(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            return error

    def _sent(self, method: Any, request: Any, **how: Any) -> Any:
        with self._lock:
            if self._stopped.is_set():
                raise grpc.FutureCancelledError
            call = method.future(request, **how)
            self._under_way.add(call)
        try:
            return call.result()
        finally:
            with self._lock:
                self._under_way.discard(call)

    def _stop(self) -> None:
        with self._lock:
            self._stopped.set()
            for call in self._under_way:
                call.cancel()
