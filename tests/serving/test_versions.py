"""Versions in a model folder."""

from pathlib import Path

import pytest

from serving.versions import find_versions, latest_version


def test_versions_are_found_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("10", "9", "2", "0"):
        (tmp_path / name).mkdir()
    assert list(find_versions(tmp_path).items()) == [(number, tmp_path / str(number)) for number in (0, 2, 9, 10)]


def test_the_latest_version_is_the_highest_number_not_the_last_name(tmp_path: Path) -> None:
    for name in ("9", "10"):
        (tmp_path / name).mkdir()
    assert latest_version(tmp_path) == (10, tmp_path / "10")


def test_files_and_folders_with_other_names_are_no_versions(tmp_path: Path) -> None:
    for name in ("1", "v2", ".3.partial", "-4", "5.0", "\u0666"):
        (tmp_path / name).mkdir()
    (tmp_path / "7").write_text("a file")
    assert list(find_versions(tmp_path)) == [1]


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`folder` must be an existing folder.*Received: folder=.*nowhere"):
        latest_version(tmp_path / "nowhere")


def test_a_folder_without_versions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    with pytest.raises(FileNotFoundError, match=r"at least one subfolder named by an integer.*Received: folder="):
        latest_version(tmp_path)
