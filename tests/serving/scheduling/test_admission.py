"""Which predictions are let in, and what becomes of those whose client has gone."""

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import pytest

from serving.errors import RequestError
from serving.scheduling.admission import Admission, Ticket


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def refusal(admission: Admission, size: int = 1) -> str:
    with pytest.raises(RequestError) as caught, admission.admitted(size):
        pass
    assert caught.value.code.name == "RESOURCE_EXHAUSTED"
    return caught.value.text


def test_places_are_workers_and_queue_and_free_again_afterwards() -> None:
    admission = Admission(workers=2, queue=1, bytes_in_flight=100)
    for _ in range(2):
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(admission.admitted(1))
            assert refusal(admission).startswith("The server computes and queues at most 3 requests (`max_workers`")
    admission.close()


def test_bytes_of_all_requests_are_bounded_together() -> None:
    admission = Admission(workers=2, queue=9, bytes_in_flight=100)
    with admission.admitted(60), admission.admitted(40):
        text = refusal(admission)
    assert text.startswith("The requests under way may have at most 100 bytes together (`max_bytes_in_flight`)")
    assert text.endswith("Received: 1 bytes beside 100")
    with admission.admitted(100):
        pass
    assert refusal(admission, 101).endswith("Received: 101 bytes beside 0")
    admission.close()


async def compute(
    admission: Admission, work: Callable[[], Any], seconds_left: float = math.inf, images: int = 1, size: int = 1
) -> Any:
    with admission.admitted(size) as ticket:
        return await admission.compute(ticket, "kind", images, seconds_left, work)


def blocked(started: threading.Event, finish: threading.Event) -> Callable[[], None]:
    def work() -> None:
        started.set()
        finish.wait(20)

    return work


async def with_a_busy_worker(admission: Admission, then: Callable[[asyncio.Task[None]], Awaitable[None]]) -> None:
    """Calls `then` with the task whose work keeps the only worker; the work ends afterwards."""
    started = threading.Event()
    finish = threading.Event()
    task = asyncio.create_task(compute(admission, blocked(started, finish), size=60))
    try:
        await asyncio.to_thread(started.wait, 20)
        await then(task)
    finally:
        finish.set()
        await asyncio.wait([task])


def test_work_that_is_cancelled_in_the_queue_is_not_done_and_leaves_its_place() -> None:
    admission = Admission(workers=1, queue=1, bytes_in_flight=100)
    done = []

    async def cancel_one_that_waits(_: asyncio.Task[None]) -> None:
        waiting = asyncio.create_task(compute(admission, lambda: done.append("cancelled")))
        await asyncio.sleep(0)
        assert "at most 2 requests" in refusal(admission)
        waiting.cancel()
        await asyncio.wait([waiting])
        waiting = asyncio.create_task(compute(admission, lambda: done.append("waited")))
        await asyncio.sleep(0)
        assert done == []

    async def test() -> None:
        await with_a_busy_worker(admission, cancel_one_that_waits)
        await compute(admission, lambda: done.append("last"))

    asyncio.run(test())
    admission.close()
    assert done == ["waited", "last"]


def test_work_under_way_keeps_its_place_and_what_it_holds_until_it_ends() -> None:
    admission = Admission(workers=1, queue=0, bytes_in_flight=100)
    let_go = threading.Event()
    kept: list[Ticket] = []

    async def work_of_a_client_that_goes() -> None:
        started = threading.Event()
        finish = threading.Event()

        async def hold() -> None:
            with admission.admitted(60) as ticket:
                kept.append(ticket)
                ticket.held.callback(let_go.set)
                await admission.compute(ticket, "kind", 1, math.inf, blocked(started, finish))

        task = asyncio.create_task(hold())
        await asyncio.to_thread(started.wait, 20)
        task.cancel()
        await asyncio.wait([task])
        assert "at most 1 requests" in refusal(admission)
        assert not let_go.is_set()
        assert not admission.wait_until_idle(0)
        finish.set()
        assert await asyncio.to_thread(admission.wait_until_idle, 20)
        assert await asyncio.to_thread(let_go.wait, 20)
        await compute(admission, lambda: None, size=100)

    asyncio.run(work_of_a_client_that_goes())
    admission.close()


@pytest.mark.parametrize(
    ("images", "seconds_left", "refused"),
    # An image took 2 s. One is ahead: the wait counts twice.
    [(1, 7.0, False), (1, 5.9, True), (0, 5.9, True), (3, 9.0, True), (3, 11.0, False), (1, math.inf, False)],
)
def test_what_cannot_end_in_time_is_refused_while_others_are_ahead(
    images: int, seconds_left: float, refused: bool
) -> None:
    clock = Clock()
    admission = Admission(1, 5, 100, clock)

    def two_seconds_an_image() -> None:
        clock.now += 8

    async def ask(_: asyncio.Task[None]) -> None:
        task = asyncio.create_task(compute(admission, lambda: None, seconds_left, images))
        await asyncio.sleep(0)
        assert task.done() == refused
        if refused:
            error = task.exception()
            assert isinstance(error, RequestError)
            assert error.code.name == "RESOURCE_EXHAUSTED"
            assert error.text.startswith(
                f"The request would wait about 2 s and take {2 * max(images, 1)} s, and its deadline"
            )

    async def test() -> None:
        await compute(admission, two_seconds_an_image, images=4)
        await with_a_busy_worker(admission, ask)

    asyncio.run(test())
    admission.close()


def test_what_finds_a_worker_free_is_tried_however_long_others_took() -> None:
    clock = Clock()
    admission = Admission(1, 5, 100, clock)

    def slow_first_request() -> None:
        clock.now += 100

    async def test() -> None:
        await compute(admission, slow_first_request)
        assert await compute(admission, lambda: "done", seconds_left=1) == "done"

    asyncio.run(test())
    admission.close()


def test_errors_of_the_work_are_those_of_the_call() -> None:
    admission = Admission(1, 0, 100)

    def fail() -> None:
        raise ValueError("no image")

    with pytest.raises(ValueError, match="^no image$"):
        asyncio.run(compute(admission, fail))
    admission.close()
