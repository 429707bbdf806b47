import logging

import numpy as np
import pytest

from keras_sare.datasets.places.readers.folders import DATABASE_FOLDERS, QUERY_FOLDERS, join_image_folder


def joined(root, folders, *paths):
    return join_image_folder(root, folders, np.array(paths, dtype=np.dtypes.StringDType())).tolist()


def test_the_database_is_in_images(tmp_path):
    (tmp_path / "images").mkdir()
    assert joined(tmp_path, DATABASE_FOLDERS, "a/b.jpg", "c.jpg") == [
        f"{tmp_path}/images/a/b.jpg",
        f"{tmp_path}/images/c.jpg",
    ]


@pytest.mark.parametrize(
    ("existing", "chosen"),
    [
        (["images", "query", "queries_real", "queries"], "queries"),
        (["images", "query", "queries_real"], "queries_real"),
        (["images", "query"], "query"),
        (["images"], "images"),
    ],
)
def test_the_queries_are_in_the_first_folder_that_exists(tmp_path, existing, chosen):
    for name in existing:
        (tmp_path / name).mkdir()
    assert joined(tmp_path, QUERY_FOLDERS, "q.jpg") == [f"{tmp_path}/{chosen}/q.jpg"]


def test_without_such_a_folder_paths_start_at_the_root(tmp_path):
    assert joined(tmp_path, QUERY_FOLDERS, "q.jpg") == [f"{tmp_path}/q.jpg"]


def test_paths_that_lead_from_the_root_are_followed_from_there(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").touch()
    assert joined(tmp_path, DATABASE_FOLDERS, "images/a.jpg", "images/b.jpg") == [
        f"{tmp_path}/images/a.jpg",
        f"{tmp_path}/images/b.jpg",
    ]


def test_absolute_paths_are_kept(tmp_path):
    assert joined(tmp_path, DATABASE_FOLDERS, "a.jpg", "/elsewhere/b.jpg") == [f"{tmp_path}/a.jpg", "/elsewhere/b.jpg"]


def test_no_paths_give_no_paths(tmp_path):
    assert joined(tmp_path, DATABASE_FOLDERS) == []


def make(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


@pytest.mark.parametrize("missing", [[0], [0, 1, 2], [23], range(0, 24, 2), range(20)])
def test_files_that_are_missing_do_not_decide_what_paths_start_from(tmp_path, missing):
    names = [f"images/{i}.jpg" for i in range(24)]
    make(tmp_path, *(name for i, name in enumerate(names) if i not in missing))
    assert joined(tmp_path, DATABASE_FOLDERS, *names) == [f"{tmp_path}/{name}" for name in names]
    names = [f"{i}.jpg" for i in range(24)]
    assert joined(tmp_path, DATABASE_FOLDERS, *names) == [f"{tmp_path}/images/{name}" for name in names]


def test_folder_that_holds_the_files_comes_before_the_first_one(tmp_path):
    make(tmp_path, "queries/other.jpg", "images/a.jpg", "images/b.jpg")
    assert joined(tmp_path, QUERY_FOLDERS, "a.jpg", "b.jpg") == [f"{tmp_path}/images/{name}.jpg" for name in "ab"]


def test_without_any_file_the_text_decides(tmp_path):
    (tmp_path / "images").mkdir()
    assert joined(tmp_path, QUERY_FOLDERS, "queries/a.jpg") == [f"{tmp_path}/queries/a.jpg"]
    assert joined(tmp_path, QUERY_FOLDERS, "a/images/b.jpg") == [f"{tmp_path}/images/a/images/b.jpg"]


def test_only_a_hundred_paths_of_a_long_list_are_looked_up(tmp_path, monkeypatch):
    asked = []
    (tmp_path / "images").mkdir()
    monkeypatch.setattr("os.path.isfile", lambda path: asked.append(path) is not None)
    joined(tmp_path, DATABASE_FOLDERS, *(f"{i:04d}.jpg" for i in range(5000)))
    numbers = sorted({int(path[-8:-4]) for path in asked})
    assert (len(numbers), numbers[0], numbers[-1]) == (100, 0, 4999)
    assert max(np.diff(numbers)) <= 51


@pytest.mark.parametrize("prefix", ["", ".\\", "images\\", ".\\images\\"])
def test_backslashes_are_understood(tmp_path, prefix):
    make(tmp_path, "images/a/b.jpg")
    assert joined(tmp_path, DATABASE_FOLDERS, prefix + "a\\b.jpg") == [f"{tmp_path}/images/a/b.jpg"]


def test_absolute_paths_among_relative_ones_do_not_count(tmp_path):
    make(tmp_path, "images/a.jpg", "far/b.jpg", "far/c.jpg")
    far = [f"{tmp_path}/far/{name}.jpg" for name in "bc"]
    assert joined(tmp_path, DATABASE_FOLDERS, *far, "images/a.jpg", "C:\\photos\\d.jpg") == [
        *far,
        f"{tmp_path}/images/a.jpg",
        "C:/photos/d.jpg",
    ]
    assert joined(tmp_path, DATABASE_FOLDERS, *far) == far


def test_the_rule_that_was_followed_is_logged(tmp_path, caplog):
    make(tmp_path, "images/a.jpg")
    with caplog.at_level(logging.INFO):
        joined(tmp_path, DATABASE_FOLDERS, "images/a.jpg", "images/b.jpg")
        joined(tmp_path, DATABASE_FOLDERS, "lost.jpg")
    there, lost = (record.getMessage() for record in caplog.records)
    assert there == f"Image paths such as images/a.jpg start from {tmp_path}: 1 of 2 that were looked up are there"
    assert lost.startswith(f"Image paths such as lost.jpg start from {tmp_path}/images: none of 1 that were looked up")
