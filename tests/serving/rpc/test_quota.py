"""What one client may ask for."""

from collections.abc import Callable
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from tensorflow_serving.apis import predict_pb2

from serving.errors import RequestError
from serving.rpc.credentials import Tokens
from serving.rpc.server import Access
from serving.scheduling.quota import Quota

REQUEST = predict_pb2.PredictRequest(model_spec={"name": "slow"})
TOKENS = {"garden": "0123456789abcdef", "tower": "fedcba9876543210"}


def test_requests_of_a_client_under_way_are_bounded_and_those_of_others_are_not() -> None:
    quota = Quota(requests=2)
    with quota.request("a"), quota.request("a"):
        with pytest.raises(RequestError, match=r"at most 2 requests under way \(`max_client_requests`\)") as caught:
            quota.request("a").__enter__()
        assert caught.value.code.name == "RESOURCE_EXHAUSTED"
        with quota.request("b"):
            pass
    with quota.request("a"), quota.request("a"):
        pass


def test_more_of_what_only_reads_may_be_under_way_beside_the_others() -> None:
    quota = Quota(requests=1)
    with ExitStack() as stack:
        stack.enter_context(quota.request("a"))
        for _ in range(8):
            stack.enter_context(quota.read("a"))
        with pytest.raises(RequestError, match=r"at most 8 requests under way \(`max_client_requests`\)"):
            stack.enter_context(quota.read("a"))
        stack.enter_context(quota.read("b"))
    for count in (quota.request, quota.read):
        with count("a"):
            pass


def test_images_of_a_client_are_bounded_over_ten_seconds() -> None:
    now = [100.0]
    quota = Quota(images_per_second=2, clock=lambda: now[0])
    for _ in range(4):
        quota.spend("a", 5)
    with pytest.raises(RequestError, match=r"at most 2 images a second \(`max_client_images_per_second`\)"):
        quota.spend("a", 1)
    quota.spend("b", 20)
    now[0] += 1
    quota.spend("a", 2)
    with pytest.raises(RequestError, match=r"try again in 10\.0 s"):
        quota.spend("a", 1)
    now[0] += 100
    quota.spend("a", 20)


def test_a_request_of_more_images_than_ten_seconds_give_is_let_in_alone() -> None:
    now = [0.0]
    quota = Quota(images_per_second=1, clock=lambda: now[0])
    quota.spend("a", 16)
    with pytest.raises(RequestError):
        quota.spend("a", 1)
    now[0] = 16.0
    quota.spend("a", 16)


def test_without_bounds_nothing_is_refused() -> None:
    quota = Quota()
    with quota.request("a"), quota.request("a"):
        quota.spend("a", 10**9)


@pytest.mark.parametrize("bounds", [{"requests": 0}, {"images_per_second": 0.0}, {"images_per_second": -1.0}])
def test_bounds_out_of_range_are_refused(bounds: dict[str, float]) -> None:
    (name,) = bounds
    with pytest.raises(ValueError, match=f"`{name}` must be positive; leave it out for no bound. Received: {name}="):
        Quota(**bounds)


def test_the_owner_of_a_token_is_a_client(slow_server: Callable[..., SimpleNamespace]) -> None:
    slow = slow_server(max_queue=5, access=Access(tokens=Tokens(TOKENS), quota=Quota(requests=1)))
    metadata = {name: [("authorization", f"Bearer {token}")] for name, token in TOKENS.items()}
    under_way = slow.predict.future(REQUEST, timeout=20, metadata=metadata["garden"])
    assert slow.model.started.acquire(timeout=20)
    refused = slow.predict.future(REQUEST, timeout=20, metadata=metadata["garden"]).exception(timeout=20)
    assert refused.code().name == "RESOURCE_EXHAUSTED"
    assert "(`max_client_requests`)" in refused.details()
    other = slow.predict.future(REQUEST, timeout=20, metadata=metadata["tower"])
    slow.model.finish.set()
    assert under_way.result(20)
    assert other.result(20)


def test_without_tokens_an_address_is_a_client(slow_server: Callable[..., SimpleNamespace]) -> None:
    slow = slow_server(max_queue=5, access=Access(quota=Quota(requests=1)))
    under_way = slow.predict.future(REQUEST, timeout=20)
    assert slow.model.started.acquire(timeout=20)
    refused = slow.predict.future(REQUEST, timeout=20).exception(timeout=20)
    assert refused.code().name == "RESOURCE_EXHAUSTED"
    slow.model.finish.set()
    assert under_way.result(20)
