"""Versions held by requests, and taken out of service."""

from contextlib import ExitStack

import grpc
import pytest

from serving.errors import RequestError
from serving.models.table import State, VersionStatus, VersionTable


class Model:
    closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def table(model: Model) -> VersionTable:
    table = VersionTable()
    table.add("places", 1, model)
    return table


def states(table: VersionTable) -> dict[int, State]:
    return {status.version: status.state for status in table.statuses("places")}


def test_a_version_that_no_request_holds_goes_at_once(table: VersionTable, model: Model) -> None:
    table.unload("places", 1)
    table.close_unused()
    assert model.closed
    assert states(table) == {1: State.END}


def test_a_version_goes_when_the_last_request_that_holds_it_ends(table: VersionTable, model: Model) -> None:
    requests = ExitStack()
    for _ in range(3):
        assert requests.enter_context(table.hold("places", None)) is model
    table.unload("places", 1)
    with requests:
        table.close_unused()
        assert not model.closed
        assert states(table) == {1: State.UNLOADING}
    table.close_unused()
    assert model.closed
    assert states(table) == {1: State.END}


def test_a_version_on_its_way_out_takes_no_more_requests(table: VersionTable) -> None:
    with table.hold("places", 1):
        table.unload("places", 1)
        with pytest.raises(RequestError, match=r"Specific\(places, 1\)") as caught, table.hold("places", 1):
            pass
    assert caught.value.code == grpc.StatusCode.NOT_FOUND


def test_requests_without_a_version_pass_from_the_old_to_the_new_one(table: VersionTable, model: Model) -> None:
    newer = Model()
    with table.hold("places", None) as held:
        table.add("places", 2, newer)
        table.unload("places", 1)
        with table.hold("places", None) as next_one:
            assert (held, next_one) == (model, newer)
    table.close_unused()
    assert (model.closed, newer.closed) == (True, False)
    assert table.available() == {"places": [2]}


def test_a_request_that_fails_lets_go_of_its_version(table: VersionTable, model: Model) -> None:
    with pytest.raises(ZeroDivisionError), table.hold("places", None):
        raise ZeroDivisionError
    table.unload("places", 1)
    table.close_unused()
    assert model.closed


def test_requests_are_counted(table: VersionTable) -> None:
    assert table.activity() == (0, 0)
    with table.hold("places", None), table.hold("places", 1):
        assert table.activity() == (2, 2)
    assert table.activity() == (2, 0)


@pytest.mark.parametrize("state", [State.START, State.LOADING, State.END])
def test_a_version_that_is_not_loaded_cannot_be_asked_for(state: State) -> None:
    table = VersionTable()
    error = RequestError(grpc.StatusCode.DATA_LOSS, "cut") if state is State.END else None
    table.enter("places", 3, state, error)
    assert table.statuses("places") == [VersionStatus(3, state, error)]
    assert table.available() == {}
    for version in (None, 3):
        with pytest.raises(RequestError, match="Servable not found"), table.hold("places", version):
            pass


def test_a_version_that_was_only_seen_can_be_forgotten(table: VersionTable) -> None:
    table.enter("places", 2, State.START)
    table.forget("places", 2)
    assert states(table) == {1: State.AVAILABLE}
