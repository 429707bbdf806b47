"""Which version a request means."""

import gc
import shutil
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import model_pb2

from serving.errors import RequestError
from serving.models.manager import ModelManager
from serving.models.table import State, VersionStatus


@pytest.fixture
def three_versions() -> ModelManager:
    return ModelManager.from_models("places", [SimpleNamespace(version=version) for version in (0, 12, 5)])


def spec(name: str = "places", version: int | None = None, label: str = "") -> model_pb2.ModelSpec:
    result = model_pb2.ModelSpec(name=name)
    if version is not None:
        result.version.value = version
    if label:
        result.version_label = label
    return result


def test_a_request_without_a_version_means_the_highest(three_versions: ModelManager) -> None:
    assert three_versions.available() == {"places": [12, 5, 0]}
    with three_versions.find(spec()) as model:
        assert model.version == 12


@pytest.mark.parametrize("version", [0, 5, 12])
def test_a_request_with_a_version_means_that_one(three_versions: ModelManager, version: int) -> None:
    with three_versions.find(spec(version=version)) as model:
        assert model.version == version


@pytest.mark.parametrize(
    ("wanted", "code", "text"),
    [
        (spec(name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (spec(label="stable"), "INVALID_ARGUMENT", "Unrecognized servable version label: stable"),
        (spec("other", label="stable"), "INVALID_ARGUMENT", "Unrecognized servable version label: stable"),
        (spec("other"), "NOT_FOUND", "Servable not found for request: Latest(other)"),
        (spec("other", 5), "NOT_FOUND", "Servable not found for request: Specific(other, 5)"),
        (spec(version=99), "NOT_FOUND", "Servable not found for request: Specific(places, 99)"),
        (spec(version=-1), "NOT_FOUND", "Servable not found for request: Specific(places, -1)"),
    ],
)
def test_a_request_for_something_else_is_refused(
    three_versions: ModelManager, wanted: Any, code: str, text: str
) -> None:
    with pytest.raises(RequestError) as caught, three_versions.find(wanted):
        pass
    assert (caught.value.code, caught.value.text) == (grpc.StatusCode[code], text)


def test_the_status_of_a_model_covers_all_versions_highest_first(three_versions: ModelManager) -> None:
    expected = [VersionStatus(version, State.AVAILABLE) for version in (12, 5, 0)]
    assert three_versions.statuses(spec()) == expected
    assert three_versions.statuses(spec(label="stable")) == expected


def test_the_status_of_a_version_covers_that_one(three_versions: ModelManager) -> None:
    assert three_versions.statuses(spec(version=0)) == [VersionStatus(0, State.AVAILABLE)]


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (spec("other"), "Could not find any versions of model other"),
        (spec("other", 5), "Could not find version 5 of model other"),
        (spec(version=99), "Could not find version 99 of model places"),
    ],
)
def test_the_status_of_something_else_is_not_found(three_versions: ModelManager, wanted: Any, text: str) -> None:
    with pytest.raises(RequestError) as caught:
        three_versions.statuses(wanted)
    assert (caught.value.code, caught.value.text) == (grpc.StatusCode.NOT_FOUND, text)


def test_the_highest_version_of_a_folder_is_loaded(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()
    (tmp_path / "20").symlink_to(model_folder / "7")
    assert ModelManager.from_folder("places", tmp_path).available() == {"places": [20]}


def test_a_highest_version_without_a_saved_model_is_passed_over(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "3").symlink_to(model_folder / "7")
    (tmp_path / "20").mkdir()
    manager = ModelManager.from_folder("places", tmp_path)
    assert [(s.version, s.state.name, s.error.code.name if s.error else "") for s in manager.statuses(spec())] == [
        (20, "END", "NOT_FOUND"),
        (3, "AVAILABLE", ""),
    ]


def test_an_only_version_without_a_saved_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "20").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no saved_model.pb in it.*Received: folder=.*20"):
        ModelManager.from_folder("places", tmp_path)


def test_a_folder_without_versions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    with pytest.raises(FileNotFoundError, match=r"at least one subfolder named by an integer.*Received: folder="):
        ModelManager.from_folder("places", tmp_path)


def test_a_version_that_is_copied_in_takes_over_and_the_old_one_frees_its_memory(
    model_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(model_folder / "7", tmp_path / "1")
    manager = ModelManager.from_folder("places", tmp_path)
    with manager.find(spec()) as model:
        old = weakref.ref(model)
    del model
    shutil.copytree(model_folder / "7", tmp_path / "2")
    manager.poll()
    manager.poll()
    gc.collect()
    assert manager.available() == {"places": [2]}
    assert old() is None


def test_an_empty_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`name` must be the name that clients ask for.*Received: name=''"):
        ModelManager.from_folder("", tmp_path)
