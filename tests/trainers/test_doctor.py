"""The doctor names each of a dozen faults in a small data set, and none where there is none."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets.checks import photo_looks
from keras_sare.datasets.images import unreadable_files
from keras_sare.datasets.places.transverse_mercator import in_next_zone
from trainers import doctor
from trainers.config import DoctorConfig

SPLITS = {"train": 0, "val": 1, "test": 2}
WALK = 12


def photo(seed):
    """A picture of blocks, unlike those of other seeds."""
    blocks = np.random.default_rng(seed).integers(0, 255, (9, 12, 3), np.uint8)
    return Image.fromarray(blocks).resize((96, 72), Image.Resampling.NEAREST)


def rows():
    """Three walks, a kilometre apart; each photo of the database and a query 4 m from it."""
    for split, number in SPLITS.items():
        for step in range(WALK):
            for role, shift in (("database", 0), ("query", 4)):
                name = f"images/{split}_{role}_{step}.png"
                east = 695000.25 + 15 * step + shift
                north = 5711000.5 + 1000 * number
                yield {"image": name, "role": role, "split": split, "easting": east, "northing": north}


def write(root, listed):
    with (root / "places.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(listed[0]))
        writer.writeheader()
        writer.writerows(listed)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    root = tmp_path_factory.mktemp("sound")
    (root / "images").mkdir()
    listed = list(rows())
    for seed, row in enumerate(listed):
        photo(seed).save(root / row["image"])
    write(root, listed)
    return root


def kinds(root, output, **settings):
    """Kinds and levels of what is found, without the notes."""
    doctor.run(DoctorConfig(root=str(root), output=str(output), cache=str(output), **settings))
    found = json.loads((output / "doctor.json").read_text())["findings"]
    return {(one["kind"], one["level"]) for one in found if one["level"] != "note"}


def queries(listed, split="test"):
    return [row for row in listed if row["role"] == "query" and row["split"] == split]


def missing(root, listed):
    (root / listed[0]["image"]).unlink()


def cut_short(root, listed):
    path = root / listed[0]["image"]
    path.write_bytes(path.read_bytes()[:-200])


def no_picture(root, listed):
    (root / listed[0]["image"]).write_text("<html>not found</html>")


def copied_to_queries(root, listed):
    shutil.copy(root / listed[0]["image"], root / listed[1]["image"])


def copied_in_the_database(root, listed):
    shutil.copy(root / listed[0]["image"], root / listed[2]["image"])


def copied_to_another_split(root, listed):
    shutil.copy(root / listed[0]["image"], root / queries(listed)[0]["image"])


def compressed_anew(root, listed):
    with Image.open(root / listed[0]["image"]) as picture:
        picture.save(root / queries(listed)[0]["image"], format="JPEG", quality=80)


def swapped(root, listed):
    for row in queries(listed):
        row["easting"], row["northing"] = row["northing"], row["easting"]


def degrees(root, listed):
    for row in listed:
        row["easting"] = 51.5 + row["easting"] / 1e7
        row["northing"] = 0.1 + row["northing"] / 1e8


def degrees_of_queries(root, listed):
    for row in queries(listed):
        row["easting"] = -0.17
        row["northing"] = 51.53


def other_zone(root, listed):
    for row in queries(listed):
        row["easting"], row["northing"] = in_next_zone(np.array([[row["easting"], row["northing"]]]), 1)[0]


def small_radius(root, listed):
    for row in queries(listed):
        row["northing"] += 60


def far(root, listed):
    queries(listed)[0]["northing"] += 9000


def exchanged(root, listed):
    for row in listed:
        latitude = 51.5 + (row["northing"] - 5711000) / 111000
        longitude = -0.1 + (row["easting"] - 695000) / 69000
        row["easting"], row["northing"] = (latitude, longitude) if row not in queries(listed) else (longitude, latitude)
    for row in listed:
        row["lat"] = row.pop("easting")
        row["lon"] = row.pop("northing")


def overlapping(root, listed):
    for row in listed:
        row["northing"] -= 1000 * (row["split"] == "val")


def half_a_position(root, listed):
    listed[5]["easting"] = ""


def split_left_out(root, listed):
    listed[:] = [row for row in listed if row["split"] != "val"]


FAULTS = {
    missing: {("missing", "error")},
    cut_short: {("corrupt", "error")},
    no_picture: {("corrupt", "error")},
    copied_to_queries: {("query_in_database", "warning")},
    copied_in_the_database: {("duplicate", "warning")},
    copied_to_another_split: {("split_duplicate", "warning")},
    compressed_anew: {("near_duplicate", "warning")},
    swapped: {("swapped", "error")},
    degrees: {("degrees", "error"), ("overlap", "warning")},
    degrees_of_queries: {("degrees", "error")},
    other_zone: {("utm_zone", "error")},
    small_radius: {("radius", "error")},
    far: {("far", "warning")},
    exchanged: {("exchanged", "error")},
    overlapping: {("overlap", "warning")},
    half_a_position: {("list", "error")},
    split_left_out: {("splits", "warning")},
}


def test_nothing_is_found_where_nothing_is_wrong(sound, tmp_path):
    assert kinds(sound, tmp_path) == set()
    assert "Nothing is wrong." in doctor.run(DoctorConfig(root=str(sound), cache=str(tmp_path)))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_fault_is_named_and_nothing_else(sound, tmp_path, fault):
    root = tmp_path / "broken"
    shutil.copytree(sound, root)
    listed = list(rows())
    fault(root, listed)
    write(root, listed)
    assert kinds(root, tmp_path / "out") == FAULTS[fault]


def test_what_was_decoded_is_remembered_until_a_file_changes(sound, tmp_path, monkeypatch):
    root = tmp_path / "copy"
    shutil.copytree(sound, root)
    decoded = []
    looked_at = []
    find = unreadable_files.find_corrupt
    orientation = photo_looks.picture_orientation
    monkeypatch.setattr(unreadable_files, "find_corrupt", lambda paths: decoded.extend(paths) or find(paths))
    monkeypatch.setattr(photo_looks, "picture_orientation", lambda one: looked_at.append(one) or orientation(one))
    assert kinds(root, tmp_path / "out") == set()
    assert len(decoded) == len(looked_at) == 6 * WALK
    decoded.clear()
    looked_at.clear()
    assert kinds(root, tmp_path / "out") == set()
    assert decoded == looked_at == []
    cut_short(root, list(rows()))
    assert kinds(root, tmp_path / "out") == {("corrupt", "error")}
    assert decoded == [str(root / "images" / "train_database_0.png")]
    (tmp_path / "out" / ".doctor.npy").write_bytes(b"damaged")
    assert kinds(root, tmp_path / "out") == {("corrupt", "error")}
    assert len(looked_at) == 6 * WALK - 1


def test_photos_without_a_list_are_still_looked_at(sound, tmp_path):
    shutil.copytree(sound / "images", tmp_path / "photos" / "images")
    no_picture(tmp_path / "photos", list(rows()))
    found = kinds(tmp_path / "photos", tmp_path / "out")
    assert found == {("no_places", "error"), ("corrupt", "error")}
