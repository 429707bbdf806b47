"""Versions that come, go, and cannot be loaded."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import model_pb2

from serving.models.config import ModelConfig
from serving.models.manager import ModelManager
from serving.models.table import State, VersionStatus, VersionTable
from serving.models.updates import Updates
from serving.models.versions import Policy

ANY = model_pb2.ModelSpec(name="places")


@pytest.fixture
def config(tmp_path: Path) -> ModelConfig:
    return ModelConfig("places", tmp_path / "places")


def states(manager: ModelManager) -> dict[int, State]:
    return {status.version: status.state for status in manager.statuses(ANY)}


def poll(manager: ModelManager, times: int = 2) -> None:
    """Twice, because a folder has to be the same at two looks."""
    for _ in range(times):
        manager.poll()


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_bad_newest_version_does_not_stop_a_good_older_one(
    manage: Any, put: Any, config: ModelConfig, loads: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    for version, text in ((1, "good"), (2, "good"), (3, "bad"), (4, "worse")):
        put(version, text)
    manager = manage(config)
    assert manager.available() == {"places": [2]}
    assert loads == [4, 3, 2]
    assert states(manager) == {4: State.END, 3: State.END, 2: State.AVAILABLE}
    assert [(s.error.code, s.error.text) for s in manager.statuses(ANY) if s.error] == [
        (grpc.StatusCode.DATA_LOSS, "the file says worse"),
        (grpc.StatusCode.DATA_LOSS, "the file says bad"),
    ]
    assert errors(caplog) == [
        "version 4 of places is skipped, until its folder changes or 60 s have passed: the file says worse",
        "version 3 of places is skipped, until its folder changes or 60 s have passed: the file says bad",
    ]


def test_a_model_without_a_good_version_is_refused_with_the_error_of_the_highest(
    manage: Any, put: Any, config: ModelConfig
) -> None:
    put(9, "bad")
    put(10, "worse")
    with pytest.raises(ValueError, match=r"^the file says worse$"):
        manage(config)


def test_a_number_that_no_request_can_name_is_skipped_and_named_once(
    manage: Any, put: Any, config: ModelConfig, caplog: pytest.LogCaptureFixture
) -> None:
    put(2**63 - 1)
    folder = put(2**63)
    manager = manage(config)
    poll(manager, 3)
    assert manager.available() == {"places": [2**63 - 1]}
    assert errors(caplog) == [f"{folder} is skipped: the number of a version must be below 2**63"]


def test_a_bad_version_is_tried_again_after_a_while_that_doubles(
    manage: Any, put: Any, config: ModelConfig, loads: list[int], clock: Any
) -> None:
    put(1)
    put(2, "bad")
    manager = manage(config)
    for now in range(0, 500, 10):
        clock.now = float(now)
        manager.poll()
    # After 60 s, 120 s more and 240 s more.
    assert loads == [2, 1, 2, 2, 2]
    assert manager.available() == {"places": [1]}


def test_a_bad_version_is_tried_again_when_its_folder_changes(
    manage: Any, put: Any, config: ModelConfig, loads: list[int]
) -> None:
    put(1)
    put(2, "bad")
    manager = manage(config)
    poll(manager, 3)
    assert loads == [2, 1]
    put(2)
    manager.poll()
    assert states(manager) == {2: State.START, 1: State.AVAILABLE}
    manager.poll()
    assert states(manager) == {2: State.AVAILABLE, 1: State.END}


def test_a_manifest_that_comes_late_is_a_change_too(
    manage: Any, put: Any, config: ModelConfig, loads: list[int]
) -> None:
    put(1)
    folder = put(2, "bad")
    manager = manage(config)
    folder.with_suffix(".json").write_text("{}")
    poll(manager)
    assert loads == [2, 1, 2]


def test_a_new_version_is_loaded_once_its_folder_is_still(
    manage: Any, put: Any, config: ModelConfig, loads: list[int]
) -> None:
    put(1)
    manager = manage(config)
    folder = put(2)
    for size in range(5):
        (folder / "more").write_bytes(bytes(size))
        manager.poll()
        assert states(manager) == {2: State.START, 1: State.AVAILABLE}
    manager.poll()
    assert states(manager) == {2: State.AVAILABLE, 1: State.END}
    assert loads == [1, 2]


def test_the_old_version_serves_until_the_new_one_is_loaded_and_its_own_requests_have_ended(
    put: Any, config: ModelConfig, manage: Any
) -> None:
    put(1)
    manager = manage(config)
    put(2)
    manager.poll()
    with manager.find(ANY) as old:
        manager.poll()
        assert states(manager) == {2: State.AVAILABLE, 1: State.UNLOADING}
        with manager.find(ANY) as new:
            assert (old.version, new.version) == (1, 2)
        manager.poll()
        assert not old.closed
    manager.poll()
    assert old.closed
    assert states(manager) == {2: State.AVAILABLE, 1: State.END}


def test_a_bad_new_version_leaves_the_old_one_even_where_its_folder_went(
    manage: Any, put: Any, config: ModelConfig
) -> None:
    old = put(1)
    manager = manage(config)
    put(2, "bad")
    shutil.rmtree(old)
    poll(manager)
    assert states(manager) == {2: State.END, 1: State.AVAILABLE}


def test_a_version_that_was_removed_is_unloaded_and_may_come_again(
    manage: Any, put: Any, config: ModelConfig, loads: list[int]
) -> None:
    put(1)
    newest = put(2)
    manager = manage(config)
    shutil.rmtree(newest)
    poll(manager)
    assert states(manager) == {2: State.END, 1: State.AVAILABLE}
    put(2)
    poll(manager)
    assert states(manager) == {2: State.AVAILABLE, 1: State.END}
    assert loads == [2, 1, 2]


def test_the_last_version_that_was_removed_is_unloaded_too(manage: Any, put: Any, config: ModelConfig) -> None:
    folder = put(1)
    manager = manage(config)
    shutil.rmtree(folder)
    manager.poll()
    assert manager.available() == {}


def test_a_version_that_went_before_it_was_loaded_is_forgotten(manage: Any, put: Any, config: ModelConfig) -> None:
    put(1)
    manager = manage(config)
    folder = put(2)
    manager.poll()
    shutil.rmtree(folder)
    manager.poll()
    assert states(manager) == {1: State.AVAILABLE}


def test_a_model_folder_out_of_reach_ends_nothing_and_is_named_once(
    manage: Any, put: Any, config: ModelConfig, caplog: pytest.LogCaptureFixture
) -> None:
    put(1)
    put(1, name="others")
    others = ModelConfig("others", config.folder.parent / "others")
    manager = manage(config, others)
    away = config.folder.rename(config.folder.parent / "away")
    put(2, name="others")
    poll(manager, 3)
    assert manager.available() == {"places": [1], "others": [2]}
    assert [text.partition(":")[0] for text in errors(caplog)] == ["places stays as it is"]
    away.rename(config.folder)
    put(3)
    poll(manager)
    assert manager.available() == {"places": [3], "others": [2]}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(), [4]),
        (Policy(most=2), [4, 3]),
        (Policy(most=9), [4, 3, 1]),
        (Policy(most=None), [4, 3, 1]),
        (Policy(most=None, only=frozenset({1, 2, 3, 7})), [3, 1]),
    ],
)
def test_the_policy_chooses_among_the_versions_that_can_be_loaded(
    manage: Callable[..., ModelManager], put: Any, config: ModelConfig, policy: Policy, expected: list[int]
) -> None:
    for version in (1, 3, 4):
        put(version)
    put(2, "bad")
    put(5, "bad")
    manager = manage(ModelConfig("places", config.folder, policy))
    assert manager.available() == {"places": expected}
    put(6)
    poll(manager)
    after = expected if policy.only else ([6, *expected] if policy.most in (None, 9) else [6, *expected][: policy.most])
    assert manager.available() == {"places": after}


def test_specific_versions_that_are_not_there_are_refused(manage: Any, put: Any, config: ModelConfig) -> None:
    put(1)
    with pytest.raises(FileNotFoundError, match="that the policy of places wants"):
        manage(ModelConfig("places", config.folder, Policy(most=None, only=frozenset({2}))))


def test_a_version_is_loading_while_it_is_loaded(put: Any, config: ModelConfig) -> None:
    table = VersionTable()
    seen = []

    def load(folder: Path, version: int) -> Any:
        seen.append(table.statuses("places"))
        return SimpleNamespace(version=version)

    put(5)
    assert Updates(table, load).load(config, at_once=True) == [5]
    assert seen == [[VersionStatus(5, State.LOADING)]]
    assert table.statuses("places") == [VersionStatus(5, State.AVAILABLE)]


def test_the_error_of_a_version_keeps_nothing_of_it_in_memory(put: Any, config: ModelConfig) -> None:
    def load(*_: Any) -> Any:
        try:
            raise KeyError("what a frame of the failed load holds")
        except KeyError as error:
            raise ValueError("damaged") from error

    put(5)
    updates = Updates(VersionTable(), load)
    assert updates.load(config, at_once=True) == []
    error = updates.failure("places")
    assert str(error) == "damaged"
    assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)
