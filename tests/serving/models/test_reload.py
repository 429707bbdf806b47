"""Another configuration takes the place of the one before, or nothing changes."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import model_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving.errors import RequestError
from serving.models.config import ModelConfig
from serving.models.manager import ModelManager


@pytest.fixture
def manager(manage: Any, put: Any, tmp_path: Path) -> ModelManager:
    """Serves version 3 of `places`; `others` has a good and `broken` a bad version."""
    for version in (1, 2, 3):
        put(version)
    put(1, name="others")
    put(1, "bad", name="broken")
    return manage(ModelConfig("places", tmp_path / "places", labels={"stable": 3}))


def model(folder: Path, name: str, more: str = "") -> str:
    return f'config {{ name: "{name}" base_path: "{folder / name}" model_platform: "tensorflow" {more} }}'


def reload(manager: ModelManager, *models: str) -> None:
    text = f"model_config_list {{ {' '.join(models)} }}"
    manager.reload(text_format.Parse(text, model_server_config_pb2.ModelServerConfig()))


def version_of(manager: ModelManager, **spec: Any) -> int:
    with manager.find(model_pb2.ModelSpec(**spec)) as held:
        return held.version


def test_models_come_and_go(manager: ModelManager, tmp_path: Path) -> None:
    reload(manager, model(tmp_path, "places"), model(tmp_path, "others"))
    assert manager.available() == {"places": [3], "others": [1]}
    reload(manager, model(tmp_path, "others"))
    assert manager.available() == {"others": [1]}
    reload(manager)
    assert manager.available() == {}


def test_a_request_holds_its_version_beyond_a_reload(manager: ModelManager, tmp_path: Path) -> None:
    with manager.find(model_pb2.ModelSpec(name="places")) as held:
        reload(manager, model(tmp_path, "others"))
        assert not held.closed
    manager.poll()
    assert held.closed


def test_policies_and_labels_change_together(manager: ModelManager, tmp_path: Path) -> None:
    more = 'model_version_policy { specific { versions: 1 versions: 2 } } version_labels { key: "stable" value: 1 }'
    reload(manager, model(tmp_path, "places", more + ' version_labels { key: "canary" value: 2 }'))
    assert manager.available() == {"places": [2, 1]}
    labels = {label: version_of(manager, name="places", version_label=label) for label in ("stable", "canary")}
    assert labels == {"stable": 1, "canary": 2}


def test_the_folders_of_the_new_configuration_are_polled(manager: ModelManager, tmp_path: Path, put: Any) -> None:
    reload(manager, model(tmp_path, "others"))
    put(2, name="others")
    put(4)
    manager.poll()
    manager.poll()
    assert manager.available() == {"others": [2]}


@pytest.mark.parametrize(
    ("more", "code", "text"),
    [
        (["others", "others"], "INVALID_ARGUMENT", "Illegal to list model others multiple times in config list"),
        (["others", "broken"], "UNKNOWN", "1 model(s) did not become available: the file says bad"),
        (["others", "nowhere"], "UNKNOWN", "1 model(s) did not become available: `folder` must be an existing folder"),
    ],
)
def test_a_wrong_configuration_changes_nothing(
    manager: ModelManager, tmp_path: Path, more: list[str], code: str, text: str
) -> None:
    with pytest.raises(RequestError) as caught:
        reload(manager, *(model(tmp_path, name) for name in more))
    assert caught.value.code == grpc.StatusCode[code]
    assert caught.value.text.startswith(text)
    manager.poll()
    assert manager.available() == {"places": [3]}
    assert version_of(manager, name="places", version_label="stable") == 3


def test_a_label_of_a_version_that_is_not_there_changes_nothing(manager: ModelManager, tmp_path: Path) -> None:
    more = 'model_version_policy { latest { num_versions: 2 } } version_labels { key: "stable" value: 1 }'
    with pytest.raises(RequestError) as caught:
        reload(manager, model(tmp_path, "places", more))
    assert (caught.value.code, caught.value.text) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "Request to assign label to version 1 of model places, which is not currently available for inference",
    )
    assert manager.available() == {"places": [3]}
    assert version_of(manager, name="places", version_label="stable") == 3


def test_an_unset_configuration_changes_nothing(manager: ModelManager) -> None:
    manager.reload(model_server_config_pb2.ModelServerConfig())
    assert manager.available() == {"places": [3]}


def test_clients_may_reload_only_where_that_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(RequestError) as caught:
        reload(ModelManager(), model(tmp_path, "others"))
    assert caught.value.code == grpc.StatusCode.PERMISSION_DENIED


def test_a_label_of_a_version_that_is_not_there_at_start_is_not_found_until_it_is(
    manage: Any, put: Any, tmp_path: Path
) -> None:
    put(1)
    manager = manage(ModelConfig("places", tmp_path / "places", labels={"next": 2}))
    with pytest.raises(RequestError, match=r"^Servable not found for request: Specific\(places, 2\)$"):
        version_of(manager, name="places", version_label="next")
    put(2)
    manager.poll()
    manager.poll()
    assert version_of(manager, name="places", version_label="next") == 2
