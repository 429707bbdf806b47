"""A version folder is compared with its manifest before it is loaded."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from export.manifest import write_manifest
from keras_sare.utils.digests import path_digest
from serving.models.manager import ModelManager

VARIABLES = "variables/variables.data-00000-of-00001"


@pytest.fixture
def exported(model_folder: Path, tmp_path: Path) -> Path:
    """A model folder as the export leaves it, with the version 1 and its manifest."""
    folder = tmp_path / "saved_model"
    shutil.copytree(model_folder / "7", folder / "1")
    write_manifest(folder / "1", {"kind": "saved_model", "sha256": path_digest(folder / "1")})
    return folder


def warnings_of_the_server(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("serving")]


def test_a_folder_as_its_manifest_describes_it_is_served(exported: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "serving"):
        assert ModelManager.from_folder("places", exported).available() == {"places": [1]}
    assert warnings_of_the_server(caplog) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda version: (version / VARIABLES).write_bytes(b"0123456789ab"),
        lambda version: (version / "saved_model.pb").write_bytes(b""),
        lambda version: (version / "assets" / "more").write_text("one file more"),
        lambda version: (version / VARIABLES).unlink(),
        lambda version: (version / "fingerprint.pb").rename(version / "other.pb"),
    ],
)
def test_a_folder_that_was_changed_since_is_refused_before_it_is_loaded(
    exported: Path, change: Callable[[Path], object]
) -> None:
    (exported / "1" / "assets").mkdir(exist_ok=True)
    change(exported / "1")
    text = r"^`folder` must be as its manifest .*1\.json describes it.* whose SHA-256 is [0-9a-f]{64} instead of .{64}$"
    with pytest.raises(ValueError, match=text):
        ModelManager.from_folder("places", exported)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", "[" * 10**5, '"sha256"', "\\xff"])
def test_a_manifest_that_is_none_is_refused(exported: Path, text: str) -> None:
    (exported / "1.json").write_text(text)
    with pytest.raises(ValueError, match=r"^`folder` must have a manifest with `sha256`.*1\.json, which is no such"):
        ModelManager.from_folder("places", exported)


def test_the_manifest_of_another_version_is_refused(exported: Path) -> None:
    (exported / "1.json").write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(ValueError, match=f"instead of {'0' * 64}$"):
        ModelManager.from_folder("places", exported)


def test_a_folder_without_a_manifest_is_served_with_a_warning(exported: Path, caplog: pytest.LogCaptureFixture) -> None:
    (exported / "1.json").unlink()
    with caplog.at_level(logging.WARNING, "serving"):
        assert ModelManager.from_folder("places", exported).available() == {"places": [1]}
    (message,) = warnings_of_the_server(caplog)
    assert message.startswith(f"There is no manifest {exported / '1.json'}")
