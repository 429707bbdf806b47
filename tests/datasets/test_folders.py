import numpy as np
import pytest

from keras_sare.datasets.folders import DATABASE_FOLDERS, QUERY_FOLDERS, join_image_folder


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
