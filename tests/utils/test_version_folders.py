"""Versions in a model folder."""

from pathlib import Path

from keras_sare.utils.version_folders import version_folders


def test_versions_are_found_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("10", "9", "2", "0"):
        (tmp_path / name).mkdir()
    assert list(version_folders(tmp_path).items()) == [(number, tmp_path / str(number)) for number in (0, 2, 9, 10)]


def test_files_and_folders_with_other_names_are_no_versions(tmp_path: Path) -> None:
    for name in ("1", "v2", ".3.partial", "-4", "5.0", "\u0666"):
        (tmp_path / name).mkdir()
    (tmp_path / "7").write_text("a file")
    assert list(version_folders(tmp_path)) == [1]


def test_where_there_is_no_folder_there_are_no_versions(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    assert version_folders(tmp_path / "nowhere") == version_folders(tmp_path / "file") == {}
