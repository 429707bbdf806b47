"""Folders of photos become data sets that open, and all that is wrong with them is said at once."""

import csv
import json

import numpy as np
import pytest
from PIL import ExifTags, Image

from keras_sare.datasets import open_splits
from keras_sare.datasets.places.spatial import earth_centred
from keras_sare.datasets.places.transverse_mercator import from_utm
from trainers import import_photos
from trainers.config import ImportConfig

GPS = ExifTags.GPS
STEPS = 60
NOON = np.datetime64("2026-05-01T12:00:00")


def walk(day):
    """Along a street of 600 m, with the time and the direction of each photo."""
    positions = np.stack([699990.0 + 10 * np.arange(STEPS), np.full(STEPS, 5711000.0 + 4 * day)], axis=1)
    latitudes, longitudes = from_utm(positions, 30)
    times = NOON + np.timedelta64(day, "D") + np.arange(STEPS).astype("timedelta64[s]") * 8
    return zip(latitudes.tolist(), longitudes.tolist(), times, strict=True)


def sexagesimal(degrees):
    degrees = abs(degrees)
    return float(int(degrees)), float(int(degrees * 60 % 60)), round(degrees * 3600 % 60, 5)


def write(path, latitude=None, longitude=None, time=None, shade=0):
    exif = Image.Exif()
    if latitude is not None:
        exif.get_ifd(ExifTags.IFD.GPSInfo).update(
            {
                GPS.GPSLatitudeRef: "N" if latitude >= 0 else "S",
                GPS.GPSLatitude: sexagesimal(latitude),
                GPS.GPSLongitudeRef: "E" if longitude >= 0 else "W",
                GPS.GPSLongitude: sexagesimal(longitude),
                GPS.GPSImgDirection: 90.0,
            }
        )
    if time is not None:
        written = str(time).replace("-", ":").replace("T", " ")
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = written
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 6), shade).save(path, exif=exif)


@pytest.fixture
def root(tmp_path):
    """Two walks along one street, on two days."""
    root = tmp_path / "photos"
    for day in (0, 1):
        for step, place in enumerate(walk(day)):
            write(root / f"day{day}" / f"{step:02d}.jpg", *place)
    return root


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run(root, **settings):
    return import_photos.run(ImportConfig(root=str(root), **settings))


def check_apart(root, distance=50):
    """Splits lie apart, and each query has a positive of another walk."""
    datasets = open_splits(root)
    assert set(datasets) == {"train", "val", "test"}
    for name, dataset in datasets.items():
        for other in set(datasets) - {name}:
            points = datasets[other].database.followed_by(datasets[other].queries).positions
            for side in (dataset.database, dataset.queries):
                gaps = np.linalg.norm(side.positions[:, None] - points, axis=2)
                assert gaps.min() > distance
        assert dataset.positives(radius=25).counts.min() >= 1
    return datasets


def test_geotagged_photos_become_splits_with_queries_of_another_day(root):
    text = run(root)
    datasets = check_apart(root)
    for dataset in datasets.values():
        assert set(dataset.database.traversals.tolist()) == {"day0/2026-05-01T12:00:00"}
        assert set(dataset.queries.traversals.tolist()) == {"day1/2026-05-02T12:00:00"}
        assert set(dataset.queries.headings.tolist()) == {90}
    listed = rows(root / "places.csv")
    left_out = rows(root / "left_out.csv")
    assert len(listed) + len(left_out) == 2 * STEPS
    assert len(left_out) <= 2 * 2 * 5
    assert {row["reason"] for row in left_out} == {"within 50 m of another split"}
    assert float(listed[0]["easting"]) == pytest.approx(699990, abs=0.01)
    assert f"python -m trainers.doctor --root={root}" in text
    assert "--recipe=few_photos" in text
    with Image.open(root / "places.png") as picture:
        assert picture.width > 300


def test_a_second_start_replaces_nothing_unless_it_is_told_to(root):
    run(root, hold_out=("0.3",))
    before = (root / "places.csv").read_text()
    assert "[exists]" in run(root)
    assert (root / "places.csv").read_text() == before
    assert "[exists]" not in run(root, overwrite=True)
    assert (root / "places.csv").read_text() != before


def test_another_folder_gets_whole_paths(root, tmp_path):
    run(root, output=str(tmp_path / "list"))
    assert not (root / "places.csv").exists()
    paths = check_apart(tmp_path / "list")["train"].database.paths
    assert paths[0] == str(root / "day0" / paths[0].rpartition("/")[2])


def test_a_walk_that_is_held_out_is_looked_up_in_the_other(root):
    datasets = run_and_open(root, hold_out=("day1",), val_share=0.0)
    assert set(datasets) == {"test"}
    assert set(datasets["test"].queries.traversals.tolist()) == {"day1/2026-05-02T12:00:00"}
    assert len(datasets["test"].queries) == STEPS


def run_and_open(root, **settings):
    run(root, **settings)
    return open_splits(root)


def test_all_that_is_wrong_is_said_at_once(root):
    write(root / "day0" / "90.jpg")
    write(root / "day0" / "91.jpg", 0.0, 0.0, NOON)
    write(root / "day0" / "92.jpg", 51.7, -0.12, NOON + np.timedelta64(100, "s"))
    (root / "day0" / "93.jpg").write_text("no picture")
    (root / "day0" / "94.heic").touch()
    (root / "places.csv").write_text("mine")
    text = run(root, hold_out=("day7",))
    for part in (
        "[exists]",
        "[hold_out]",
        "Folders are day0, day1",
        "[corrupt] ",
        "93.jpg",
        "1 .heic are not read",
        "no position (day0/90.jpg)",
        "0 degrees north, 0 degrees east, which stands for an unknown position (day0/91.jpg)",
        "a jump, faster than 150 km/h from the photos before and after it (day0/92.jpg)",
    ):
        assert part in text
    assert (root / "places.csv").read_text() == "mine"
    assert not (root / "left_out.csv").exists()


@pytest.fixture
def without_gps(tmp_path):
    """A walk whose camera is two hours and seven seconds ahead of the track."""
    root = tmp_path / "plain"
    points = []
    for day in (0, 1):
        for step, (latitude, longitude, time) in enumerate(walk(day)):
            write(root / f"day{day}" / f"{step:02d}.jpg", time=time + np.timedelta64(7207, "s"))
            points.append(f'<trkpt lat="{latitude:.9f}" lon="{longitude:.9f}"><time>{time}Z</time></trkpt>')
    (root / "walk.gpx").write_text(f"<gpx><trk><trkseg>{''.join(points)}</trkseg></trk></gpx>")
    return root


def test_a_track_gives_positions_and_a_wrong_clock_is_told(without_gps):
    track = str(without_gps / "walk.gpx")
    assert f"--gpx={track}" in run(without_gps)
    assert "With --clock_offset=+02:00 118 of 120 photos lie on it" in run(without_gps, gpx=(track,))
    run(without_gps, gpx=(track,), clock_offset="+02:00:07")
    check_apart(without_gps)
    first = rows(without_gps / "places.csv")[0]
    assert (float(first["easting"]), float(first["northing"])) == pytest.approx((699990, 5711000), abs=0.01)


def test_photos_outside_of_a_track_are_named(without_gps):
    write(without_gps / "day0" / "later.jpg", time=NOON + np.timedelta64(5, "h"))
    text = run(without_gps, gpx=(str(without_gps / "walk.gpx"),), clock_offset="7207")
    assert "1 photos were taken outside of the track" in text
    assert "day0/later.jpg" in text
    assert {"image": "day0/later.jpg", "reason": "no position"} in rows(without_gps / "left_out.csv")


def test_one_walk_alone_is_warned_of(root):
    text = run(root, hold_out=("0.3",), output=str(root / "list"))
    assert "[same_walk]" not in text
    for path in (root / "day1").iterdir():
        path.unlink()
    assert "[same_walk]" in run(root)
    check_apart(root)
    text = run(root, overwrite=True, roles="traversal")
    assert "Nothing was written: correct this\n- [same_walk]" in text
    assert "[same_walk]" not in run(root, overwrite=True, roles="share")


def test_photos_that_are_too_few_are_told_which_sides_they_lack(root):
    for path in sorted(root.rglob("*.jpg"))[5:]:
        path.unlink()
    text = run(root)
    assert "[empty_split]" in text
    assert "train no photos for database and queries" in text
    assert not (root / "places.csv").exists()


def test_all_photos_may_be_the_test(root):
    datasets = run_and_open(root, hold_out=("1",))
    assert set(datasets) == {"test"}
    assert len(datasets["test"].paths) == 2 * STEPS


def test_files_that_are_no_images_are_listed_as_left_out(root):
    (root / "day0" / "page.jpg").write_text("<html>not found</html>")
    run(root)
    assert {"image": "day0/page.jpg", "reason": "no image that can be read"} in rows(root / "left_out.csv")


def test_mapillarys_description_gives_positions(without_gps):
    entries = [
        {
            "filename": f"/elsewhere/plain/day{day}/{step:02d}.jpg",
            "filetype": "image",
            "MAPLatitude": latitude,
            "MAPLongitude": longitude,
            "MAPCaptureTime": str(time).replace("-", "_").replace(":", "_").replace("T", "_") + "_000",
            "MAPSequenceUUID": f"uuid-{day}",
        }
        for day in (0, 1)
        for step, (latitude, longitude, time) in enumerate(walk(day))
    ]
    (without_gps / "mapillary_image_description.json").write_text(json.dumps(entries))
    run(without_gps)
    assert set(check_apart(without_gps)["val"].queries.traversals.tolist()) == {"uuid-1"}


def test_names_give_positions(tmp_path):
    for day in (0, 1):
        for step in range(STEPS):
            write(tmp_path / f"day{day}" / f"@{699990 + 10 * step}@{5711000 + 4 * day}@30@U@.jpg")
    run(tmp_path)
    check_apart(tmp_path)


def test_each_folder_may_be_a_place(tmp_path):
    for place in range(12):
        for number in range(4):
            write(tmp_path / f"place{place}" / f"{number}.jpg", shade=4 * place + number)
    assert "--source=folders" in run(tmp_path)
    run(tmp_path, source="folders")
    datasets = open_splits(tmp_path)
    places = {name: set(dataset.database.places.tolist()) for name, dataset in datasets.items()}
    assert sum(map(len, places.values())) == len(set.union(*places.values())) == 12
    for dataset in datasets.values():
        assert dataset.positives(radius=25).counts.min() >= 1


def test_photos_all_over_the_world_are_listed_in_degrees(tmp_path):
    for town, (latitude, longitude) in enumerate(
        [(48.0, 11.0), (60.0, -20.0), (-30.0, 170.0), (10.0, 77.0), (1.0, 1.0)]
    ):
        for step in range(6):
            for day in (0, 1):
                write(tmp_path / f"{town}-{day}" / f"{step}.jpg", latitude + step * 1e-4, longitude + day * 1e-5)
    run(tmp_path)
    database = check_apart(tmp_path)["test"].database
    np.testing.assert_allclose(database.positions, earth_centred(*database.coordinates.T), atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clock_offset": "two hours", "gpx": ("a.gpx",)}, r"`clock_offset` must be \+HH:MM or seconds"),
        ({"clock_offset": "7"}, "`clock_offset` must come with --gpx=FILE"),
        ({"source": "gpx"}, "`gpx` must name the files of the track"),
        ({"val_share": 1.0}, "`val_share` must be a share below 1"),
        ({"roles": "random"}, "`roles` must be one of"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_read(settings, message):
    with pytest.raises(ValueError, match=message):
        run("nowhere", **settings)


def test_a_missing_track_is_an_error_of_one_line(root):
    text = run(root, gpx=("gone.gpx",))
    assert "gone.gpx" in text
    assert "Nothing was written" in text
