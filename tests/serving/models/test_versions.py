"""Which version of a model folder is served."""

from pathlib import Path

import pytest

from serving.models.versions import latest_version


def test_the_latest_version_is_the_highest_number_not_the_last_name(tmp_path: Path) -> None:
    for name in ("9", "10"):
        (tmp_path / name).mkdir()
    assert latest_version(tmp_path) == (10, tmp_path / "10")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`folder` must be an existing folder.*Received: folder=.*nowhere"):
        latest_version(tmp_path / "nowhere")


def test_a_folder_without_versions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    with pytest.raises(FileNotFoundError, match=r"at least one subfolder named by an integer.*Received: folder="):
        latest_version(tmp_path)
