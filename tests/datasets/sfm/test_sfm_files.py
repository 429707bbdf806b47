"""Several models: numbers that do not collide, overlap, clusters by verified matches."""

import logging
import re
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from keras_sare.datasets.sfm.sfm_files import read_colmap
from keras_sare.datasets.sfm.sfm_links import linked_models
from keras_sare.datasets.sfm.sfm_pycolmap import import_pycolmap

PLANAR = 6
UNCALIBRATED = 3


def write_model(folder, names, points=3, first_id=1):
    """A model of cameras side by side, each of which sees all points."""
    folder.mkdir(parents=True)
    ids = range(first_id, first_id + points)
    seen = " ".join(f"{10 * i} 0 {point}" for i, point in enumerate(ids))
    (folder / "cameras.txt").write_text("1 SIMPLE_PINHOLE 640 480 100 320 240\n")
    (folder / "images.txt").write_text(
        "".join(f"{i} 1 0 0 0 {-i} 0 0 1 {name}\n{seen}\n" for i, name in enumerate(names, start=1))
    )
    tracks = [" ".join(f"{i} {index}" for i in range(1, len(names) + 1)) for index in range(points)]
    (folder / "points3D.txt").write_text(
        "".join(f"{point} 0 0 {5 + i} 0 0 0 0.1 {tracks[i]}\n" for i, point in enumerate(ids))
    )


def write_database(path, names, matches):
    """As COLMAP writes it, less what is not read. `matches`: (name, name, count, configuration)."""
    pycolmap = import_pycolmap()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE images (image_id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("CREATE TABLE two_view_geometries (pair_id INTEGER, rows INTEGER, config INTEGER)")
        ids = {name: number for number, name in enumerate(names, start=1)}
        connection.executemany("INSERT INTO images VALUES (?, ?)", [(number, name) for name, number in ids.items()])
        rows = [(pycolmap.image_pair_to_pair_id(ids[a], ids[b]), count, config) for a, b, count, config in matches]
        connection.executemany("INSERT INTO two_view_geometries VALUES (?, ?, ?)", rows)
        connection.commit()


@pytest.fixture
def street(tmp_path):
    """Models 0, 1 and 2 of three, two and two photos."""
    write_model(tmp_path / "models" / "0", ["a/1.jpg", "a/2.jpg", "a/3.jpg"])
    write_model(tmp_path / "models" / "1", ["b/1.jpg", "b/2.jpg"], points=2, first_id=100)
    write_model(tmp_path / "models" / "2", ["c/1.jpg", "c/2.jpg"])
    return tmp_path


NAMES = [f"{model}/{number}.jpg" for model, count in (("a", 3), ("b", 2), ("c", 2)) for number in range(1, count + 1)]


def test_models_become_one_dataset_with_numbers_of_their_own(street):
    dataset = read_colmap(street / "models", street / "images")
    assert dataset.name == street.name
    assert dataset.paths.tolist() == [str(street / "images" / name) for name in NAMES]
    assert dataset.models.tolist() == dataset.clusters.tolist() == [0, 0, 0, 1, 1, 2, 2]
    np.testing.assert_allclose(dataset.centres[:, 0], [1, 2, 3, 1, 2, 1, 2])
    np.testing.assert_array_equal(dataset.point_starts, [0, 3, 6, 9, 11, 13, 16, 19])
    assert dataset.points_of(1).tolist() == [0, 1, 2]
    assert dataset.points_of(4).tolist() == [3, 4]
    assert dataset.points_of(6).tolist() == [5, 6, 7]
    np.testing.assert_allclose(dataset.scales[:3], [100 / 5, 100 / 6, 100 / 7])
    assert [dataset.points_of(i).tolist() for i in (0, 2)] == [[0, 1, 2]] * 2


def test_the_name_is_the_folder_of_the_images_or_what_is_given(street):
    assert read_colmap(street / "models", street / "photos").name == "photos"
    assert read_colmap(street / "models", "elsewhere/images", name="town").name == "town"


def test_of_models_that_share_photos_the_largest_is_kept(street, caplog):
    caplog.set_level(logging.INFO, "keras_sare")
    write_model(street / "models" / "3", ["c/1.jpg", "b/2.jpg", "d/1.jpg", "d/2.jpg"])
    dataset = read_colmap(street / "models", street / "images")
    assert dataset.models.tolist() == [0, 0, 0, 3, 3, 3, 3]
    assert "Model 1 of 2 images excluded: it shares 1 with model 3 of 4 images" in caplog.text
    assert "Model 2 of 2 images excluded" in caplog.text


def test_what_overlaps_only_with_a_model_left_out_is_kept(street):
    write_model(street / "models" / "3", ["a/1.jpg", "d/1.jpg"])
    write_model(street / "models" / "4", ["d/1.jpg"])
    assert np.unique(read_colmap(street / "models", street / "images").models).tolist() == [0, 1, 2, 4]


@pytest.mark.parametrize(
    ("left_out", "clusters"),
    [
        ([["a/1.jpg", "c/1.jpg"]], [0, 0, 0, 1, 1, 0, 0]),
        ([["c/2.jpg", "b/2.jpg", "a/3.jpg"]], [0] * 7),
        ([["a/1.jpg", "d/1.jpg"], ["d/1.jpg", "b/1.jpg"]], [0, 0, 0, 0, 0, 2, 2]),
        ([["a/1.jpg", "d/1.jpg"], ["b/1.jpg", "d/2.jpg"]], [0, 0, 0, 1, 1, 2, 2]),
    ],
    ids=["of two", "of three", "a chain", "of one each"],
)
@pytest.mark.parametrize("with_database", [False, True])
def test_a_model_left_out_joins_those_that_it_shares_photos_with(street, left_out, clusters, with_database):
    for number, names in enumerate(left_out, start=3):
        write_model(street / "models" / str(number), names)
    write_database(street / "database.db", NAMES, [])
    dataset = read_colmap(street / "models", street / "images", street / "database.db" if with_database else None)
    assert dataset.models.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert dataset.clusters.tolist() == clusters


def test_photos_in_common_and_matches_join_models_together(street):
    write_model(street / "models" / "3", ["a/1.jpg", "b/1.jpg"])
    write_database(street / "database.db", NAMES, [("b/2.jpg", "c/1.jpg", 30, UNCALIBRATED)])
    assert read_colmap(street / "models", street / "images", street / "database.db").clusters.tolist() == [0] * 7


def test_a_cluster_has_the_number_of_a_model_that_is_kept(street):
    write_model(street / "models" / "4", ["d/1.jpg", "d/2.jpg", "d/3.jpg", "b/1.jpg"])
    dataset = read_colmap(street / "models", street / "images")
    assert dataset.models.tolist() == dataset.clusters.tolist() == [0, 0, 0, 2, 2, 4, 4, 4, 4]


@pytest.mark.parametrize(
    ("matches", "clusters"),
    [
        ([], [0, 0, 0, 1, 1, 2, 2]),
        ([("b/2.jpg", "c/1.jpg", 30, UNCALIBRATED)], [0, 0, 0, 1, 1, 1, 1]),
        ([("c/1.jpg", "a/3.jpg", 200, UNCALIBRATED)], [0, 0, 0, 1, 1, 0, 0]),
        ([("b/2.jpg", "c/1.jpg", 29, UNCALIBRATED)], [0, 0, 0, 1, 1, 2, 2]),
        ([("b/2.jpg", "c/1.jpg", 500, PLANAR)], [0, 0, 0, 1, 1, 2, 2]),
        ([("a/1.jpg", "a/2.jpg", 500, UNCALIBRATED)], [0, 0, 0, 1, 1, 2, 2]),
        ([("a/1.jpg", "b/1.jpg", 40, UNCALIBRATED), ("c/2.jpg", "b/2.jpg", 40, UNCALIBRATED)], [0] * 7),
        ([("a/1.jpg", "lost.jpg", 40, UNCALIBRATED), ("lost.jpg", "b/1.jpg", 40, UNCALIBRATED)], [0, 0, 0, 1, 1, 2, 2]),
    ],
    ids=[
        "none",
        "enough",
        "first with last",
        "too few",
        "of a plane",
        "within a model",
        "a chain",
        "by way of no model",
    ],
)
def test_verified_matches_join_models_into_clusters(street, matches, clusters):
    write_database(street / "database.db", ["lost.jpg", *reversed(NAMES)], matches)
    dataset = read_colmap(street / "models", street / "images", street / "database.db")
    assert dataset.clusters.tolist() == clusters
    assert dataset.models.tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_clusters_equal_a_search_over_random_links(tmp_path):
    random = np.random.RandomState(0)
    names = np.array([f"{i}.jpg" for i in range(60)], np.dtypes.StringDType())
    models = random.permutation(np.repeat(np.arange(20) * 3, 3))
    pairs = [random.choice(60, 2, replace=False) for _ in range(9)]
    write_database(tmp_path / "d.db", names.tolist(), [(names[a], names[b], 50, UNCALIBRATED) for a, b in pairs])
    expected = models.copy()
    for _ in pairs:
        for a, b in pairs:
            both = np.isin(expected, (expected[a], expected[b]))
            expected[both] = expected[both].min()
    assert linked_models(tmp_path / "d.db", names, models).tolist() == expected.tolist()
    assert len(set(expected.tolist())) < 20


def test_a_database_of_other_photos_is_warned_of(street, caplog):
    write_database(street / "database.db", NAMES[:4], [])
    read_colmap(street / "models", street / "images", street / "database.db")
    assert "knows 4 of 7 photos of the models" in caplog.text


def test_what_is_no_database_is_refused(street):
    with pytest.raises(ValueError, match="`database` must be a file"):
        read_colmap(street / "models", street / "images", street / "none.db")
    (street / "text.db").write_text("no database" * 100)
    with pytest.raises(ValueError, match=re.escape("`database` must be a database that COLMAP wrote")):
        read_colmap(street / "models", street / "images", street / "text.db")
    with pytest.raises(ValueError, match="`min_matches` must be at least 1"):
        linked_models(street / "none.db", np.array([]), np.array([]), 0)
