"""Requests that arrive: who is read, who waits, who makes room."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest

from serving.errors import RequestError
from serving.rpc.receiving import Receiving
from serving.wire.parsing import MAX_SMALL_BYTES


class Sender:
    """A call whose request arrives when the test says so."""

    def __init__(self) -> None:
        self.is_read = asyncio.Event()
        self.sent: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def read(self) -> bytes:
        self.is_read.set()
        return await self.sent


def arrival(
    check: Callable[[Receiving, list[Sender], list[asyncio.Task[bytes]]], Awaitable[None]], **settings: int
) -> None:
    """Lets four calls begin, of which two are read at a time, and checks what becomes of them."""

    async def run() -> None:
        receiving = Receiving(**{"turns": 2, "calls": 9, "seconds": 20, **settings})
        senders = [Sender() for _ in range(4)]
        tasks = [asyncio.create_task(receiving.read(sender)) for sender in senders]
        await asyncio.gather(*(sender.is_read.wait() for sender in senders[:2]))
        await check(receiving, senders, tasks)

    asyncio.run(run())


def test_few_requests_are_read_at_a_time_and_the_first_is_next() -> None:
    async def check(_: Receiving, senders: list[Sender], tasks: list[asyncio.Task[bytes]]) -> None:
        assert [sender.is_read.is_set() for sender in senders] == [True, True, False, False]
        senders[1].sent.set_result(b"1")
        assert await tasks[1] == b"1"
        await senders[2].is_read.wait()
        assert not senders[3].is_read.is_set()
        for sender in senders[2:]:
            sender.sent.set_result(b"later")
        assert await asyncio.gather(*tasks[2:]) == [b"later"] * 2

    arrival(check)


def test_who_sends_nothing_makes_room_after_its_time() -> None:
    async def check(_: Receiving, senders: list[Sender], tasks: list[asyncio.Task[bytes]]) -> None:
        senders[2].sent.set_result(b"2")
        senders[3].sent.set_result(b"3")
        assert await asyncio.gather(*tasks[2:]) == [b"2", b"3"]
        with pytest.raises(RequestError, match="More than 2 requests arrive at the same time") as error:
            await tasks[0]
        assert error.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        tasks[1].cancel()

    arrival(check)


def test_a_caller_that_goes_while_it_waits_takes_nobodys_turn() -> None:
    async def check(_: Receiving, senders: list[Sender], tasks: list[asyncio.Task[bytes]]) -> None:
        # The turn is given to the first, which goes before it takes it.
        senders[0].sent.add_done_callback(lambda _: tasks[2].cancel())
        senders[0].sent.set_result(b"0")
        await senders[3].is_read.wait()
        senders[3].sent.set_result(b"3")
        assert await tasks[3] == b"3"
        assert not senders[2].is_read.is_set()
        tasks[1].cancel()

    arrival(check)


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("/grpc.health.v1.Health/Check", "unary_unary"),
        ("/grpc.health.v1.Health/Watch", "unary_stream"),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "stream_stream"),
    ],
)
@pytest.mark.parametrize("data", [bytes(MAX_SMALL_BYTES + 1), b"\xff"], ids=["large", "malformed"])
def test_services_of_others_are_bounded_too(address: str, method: str, kind: str, data: bytes) -> None:
    with grpc.insecure_channel(address) as channel:
        request = iter([data]) if kind == "stream_stream" else data
        call = getattr(channel, kind)(method)
        with pytest.raises(grpc.RpcError) as error:
            list(call(request, timeout=20))
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
