"""Which photos the program takes."""

import os
import re
from pathlib import Path

import pytest

from serving.client.photos import PhotoNames, find_photos


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photos in it and below it, and what is none."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "a.JPEG", "notes.txt", ".hidden.jpg", "c[1].png", "deep/er/d.webp", "deep/e.gif", ".g/h.jpg"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "in" / "deep" / "up").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "elsewhere.jpg").mkdir()
    return tmp_path


ALL = ["in/a.JPEG", "in/b.jpg", "in/c[1].png", "in/deep/e.gif", "in/deep/er/d.webp"]


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        (["in"], ALL),
        (["in/"], ALL),
        (["in/notes.txt", "in/b.jpg", "in/b.jpg"], ["in/notes.txt", "in/b.jpg", "in/b.jpg"]),
        (["in/c[1].png"], ["in/c[1].png"]),
        (["in/*"], ALL[:3]),
        (["in/deep/**/*.*", "in/a.JPEG"], None),
        (["in/deep/er", "in/b*"], ["in/deep/er/d.webp", "in/b.jpg"]),
    ],
)
def test_files_folders_and_patterns_are_taken_in_their_order(
    folder: Path, inputs: list[str], found: list[str] | None
) -> None:
    result = list(find_photos(inputs))
    if found is None:
        assert result[-1] == "in/a.JPEG"
        assert {"in/deep/e.gif", "in/deep/er/d.webp"} <= set(result)
    else:
        assert result == found


def test_lists_name_files_that_need_not_exist(folder: Path) -> None:
    (folder / "list.txt").write_bytes("in/b.jpg\r\n\nüber.jpg\n  spaces .jpg".encode() + b"\n\xff.jpg\n")
    assert list(find_photos(["in/b.jpg"], ["list.txt"])) == [
        "in/b.jpg",
        "in/b.jpg",
        "über.jpg",
        "  spaces .jpg",
        os.fsdecode(b"\xff.jpg"),
    ]


@pytest.mark.parametrize(
    ("inputs", "error", "text"),
    [
        (["nowhere.jpg"], FileNotFoundError, "`photos` must be files, folders or patterns that are there"),
        (["empty"], ValueError, "`photos` must hold .jpg, .jpeg, .png, .webp, .gif files. Received: 'empty'"),
        (["in/*.bmp"], ValueError, re.escape("Received: 'in/*.bmp', which holds none")),
    ],
)
def test_inputs_without_photos_are_told(folder: Path, inputs: list[str], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        list(find_photos(["in/b.jpg", *inputs]))


def test_names_are_kept_in_order_and_can_be_read_again() -> None:
    paths = [f"photos/{number}.jpg" for number in range(1000)] + ["über.jpg", os.fsdecode(b"\xff.jpg"), "a\vb.jpg"]
    with PhotoNames(iter(paths)) as names, PhotoNames(paths[:-1]) as others:
        assert (len(names), names.longest) == (1003, 14)
        assert list(names) == list(names) == paths
        assert names.digest != others.digest
    with PhotoNames(paths[:-1]) as again:
        assert again.digest == others.digest


@pytest.mark.parametrize(
    ("paths", "text"), [([], "`photos` must name at least one photo"), (["a\nb.jpg"], r"no line breaks.*'a\\nb.jpg'")]
)
def test_names_that_no_list_can_have_are_refused(paths: list[str], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        PhotoNames(paths)
