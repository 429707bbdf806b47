"""Walks, names, folders and what lies in them."""

import os

import numpy as np
import pytest

from keras_sare.datasets.photo_import.gpx_track import parse_time
from keras_sare.datasets.photo_import.mapillary import DESCRIPTION
from keras_sare.datasets.photo_import.photo_files import find_photos
from keras_sare.datasets.photo_import.photo_list import PhotoList
from keras_sare.datasets.photo_import.planar import metric_positions
from keras_sare.datasets.photo_import.sources import from_names, likely_source
from keras_sare.datasets.photo_import.traversals import name_traversals
from keras_sare.datasets.places.transverse_mercator import to_utm


def texts(*names):
    return np.array(names, np.dtypes.StringDType())


def located(latitudes, longitudes):
    names = texts(*(f"{i}.jpg" for i in range(len(latitudes))))
    return PhotoList.of(names, latitudes=np.array(latitudes), longitudes=np.array(longitudes))


def test_photos_are_found_and_what_else_lies_there_is_named(tmp_path):
    for name in ("b/a.JPG", "a.png", ".x.jpg", ".thumbs/t.jpg", "places.png", "b/i.heic", "v.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "back").symlink_to(tmp_path)
    for name in (b"\xff.jpg", b" b.jpg", b"a\\c.jpg"):
        (tmp_path / os.fsdecode(name)).touch()
    names, findings = find_photos(tmp_path)
    assert names.tolist() == ["a.png", "b/a.JPG"]
    assert [(one.kind, one.message.partition(" (")[0]) for one in findings] == [
        ("names", "3 photos have names that a list cannot hold"),
        ("format", "1 .heic are not read"),
        ("format", "1 .mp4 are not read"),
    ]
    assert all(one.message.isprintable() for one in findings)


def test_a_folder_without_photos_is_an_error(tmp_path):
    assert [(one.kind, one.level) for one in find_photos(tmp_path)[1]] == [("no_photos", "error")]


def test_what_says_the_positions_is_guessed_from_the_folder(tmp_path):
    assert likely_source(tmp_path, texts("a/b.jpg", "@x/c.jpg"), ()) == "exif"
    assert likely_source(tmp_path, texts("a/@1@2@.jpg", "@3@4@.jpg", "c.jpg"), ()) == "names"
    (tmp_path / DESCRIPTION).touch()
    assert likely_source(tmp_path, texts("@1@2@.jpg"), ()) == "mapillary"
    assert likely_source(tmp_path, texts("@1@2@.jpg"), ("a.gpx",)) == "gpx"


def test_names_say_positions_in_their_own_zones():
    north = to_utm(np.array([59.9, 59.9]), np.array([5.9998, 6.0001]), 31)
    other = to_utm(np.array([59.9]), np.array([6.0001]), 32)
    names = [
        f"@{north[0, 0]:.3f}@{north[0, 1]:.3f}@31@V@@@@@90@@@@20260501_120003@@.jpg",
        f"walk/@{other[0, 0]:.3f}@{other[0, 1]:.3f}@32@V@@@@@-90@@@@202605@@.jpg",
        "@1@2@@@48.5@11.25@.jpg",
        "@1@2@.jpg",
        "holiday.jpg",
    ]
    photos, findings = from_names("root", texts(*names))
    np.testing.assert_allclose(photos.latitudes[:3], [59.9, 59.9, 48.5], atol=1e-8)
    np.testing.assert_allclose(photos.longitudes[:3], [5.9998, 6.0001, 11.25], atol=1e-8)
    assert photos.located.tolist() == [True, True, True, False, False]
    np.testing.assert_array_equal(photos.headings, [90, 270, np.nan, np.nan, np.nan])
    assert photos.seconds[0] == parse_time("2026-05-01T12:00:03Z")
    assert np.isnan(photos.seconds[1:]).all()
    assert [one.message for one in findings] == ["1 names say neither UTM zone nor degrees (@1@2@.jpg)"]
    positions, system = metric_positions(photos.subset(np.array([0, 1])))
    assert system == "UTM zone 31N"
    np.testing.assert_allclose(positions, north, atol=2e-3)


@pytest.mark.parametrize(
    ("latitudes", "longitudes", "system"),
    [
        ([-33.85, -33.86], [151.2, 151.3], "UTM zone 56S"),
        ([0.0, 0.0], [179.99, -179.99], "UTM zone 60N"),
        ([48.0, 48.0], [2.0, 20.0], "degrees"),
        ([85.0, 85.0], [2.0, 2.0], "degrees"),
    ],
)
def test_all_photos_have_one_system(latitudes, longitudes, system):
    positions, found = metric_positions(located(latitudes, longitudes))
    assert found == system or {found, system} == {"UTM zone 1N", "UTM zone 60N"}
    assert positions.shape == (2, 3 if system == "degrees" else 2)
    if latitudes[0] == 0:
        assert np.linalg.norm(positions[1] - positions[0]) == pytest.approx(0.02 * 111320, rel=2e-3)


def test_walks_are_told_apart_by_folder_break_and_sequence():
    names = texts(
        "a/1.jpg", "a/2.jpg", "a/3.jpg", "a/4.jpg", "b/1.jpg", "100GOPRO/1.jpg", "101GOPRO/2.jpg", "c/1.jpg", "d/1.jpg"
    )
    noon = parse_time("2026-05-01T12:00:00Z")
    seconds = noon + np.array([60, 0, 3600, np.nan, 0, 0, 100, 7200, 0])
    sequences = texts("", "", "", "", "", "", "", "s", "s")
    walks = name_traversals(PhotoList.of(names, seconds=seconds, sequences=sequences))
    assert walks.tolist() == [
        "a/2026-05-01T12:00:00",
        "a/2026-05-01T12:00:00",
        "a/2026-05-01T13:00:00",
        "a",
        "b/2026-05-01T12:00:00",
        "2026-05-01T12:00:00",
        "2026-05-01T12:00:00",
        "s",
        "s",
    ]


def test_no_photos_have_no_walks():
    assert len(name_traversals(PhotoList.of(texts()))) == 0
