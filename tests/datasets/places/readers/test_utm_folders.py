import numpy as np
import pytest

from keras_sare.datasets import open_databases, open_dataset, open_splits
from keras_sare.datasets.places.readers.utm_names import parse_utm_name

TOKYO = "@0388920.79@3947927.57@54@S@035.66895@0139.77211@PAN7@03@270@@@@201301@@.jpg"
"""As the VG benchmark's downloader names files."""


def write(root, split, side, *names):
    for name in names:
        path = root / split / side / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_name_is_taken_apart():
    name = parse_utm_name(f"images/{TOKYO}")
    assert name.coordinates == (35.66895, 139.77211)
    assert (name.easting, name.northing, name.zone, name.south) == (388920.79, 3947927.57, 54, False)
    assert (name.panorama, name.heading, name.timestamp) == ("PAN7", 270, "201301")


@pytest.mark.parametrize(
    ("name", "zone", "south"),
    [("@1@2@.jpg", None, False), ("@1@2@07@C@@@@@@@@@@@.jpg", 7, True), ("@1@2@61@M@.jpg", None, True)],
)
def test_fields_after_the_position_may_be_missing(name, zone, south):
    parsed = parse_utm_name(name)
    assert (parsed.easting, parsed.northing, parsed.zone, parsed.south) == (1, 2, zone, south)
    assert np.isnan(parsed.heading)
    assert parsed.coordinates is None


@pytest.mark.parametrize("name", ["a.jpg", "@left@2@.jpg", "@1@.jpg", "@nan@2@.jpg", "@inf@2@.jpg", "@.jpg"])
def test_other_names_say_no_position(name):
    assert parse_utm_name(name) is None


@pytest.mark.parametrize("above", ["images", ""])
def test_splits_are_read_with_all_that_names_say(tmp_path, above):
    write(tmp_path / above, "test", "database", "@90@20@.jpg", TOKYO, ".hidden.jpg", "notes.txt")
    write(tmp_path / above, "test", "queries", "day/@13.5@24@.png")
    dataset = open_dataset(tmp_path, split="test")
    assert dataset.name == f"{tmp_path.name}_test"
    assert dataset.database.positions.tolist() == [[388920.79, 3947927.57], [90, 20]]
    assert dataset.database.timestamps.tolist() == ["201301", ""]
    np.testing.assert_array_equal(dataset.database.headings, [270, np.nan])
    assert dataset.database.coordinates is None
    assert dataset.queries.paths.tolist() == [str(tmp_path / above / "test/queries/day/@13.5@24@.png")]
    assert dataset.queries.timestamps is None


def test_a_database_alone_is_a_map(tmp_path):
    write(tmp_path / "images", "val", "database", "@90@20@.jpg")
    assert len(open_databases(tmp_path)["val"]) == 1
    with pytest.raises(ValueError, match=r"must hold images named @easting@.*val/queries; add them. Received: none"):
        open_splits(tmp_path)


def test_all_names_without_position_are_counted(tmp_path):
    write(tmp_path / "images", "val", "database", "@90@20@.jpg", "b.jpg", "@left@.jpg", "d.jpg", "e.jpg")
    with pytest.raises(ValueError, match=r"begin with @easting@.* Received: 4 of 5 files, such as .*@left@.jpg, "):
        open_databases(tmp_path)
