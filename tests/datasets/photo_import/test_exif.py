import datetime

import numpy as np
import pytest
from PIL import ExifTags, Image, TiffImagePlugin

from keras_sare.datasets.photo_import.exif import read_exif

BASE = ExifTags.Base
GPS = ExifTags.GPS
BERLIN = {
    GPS.GPSLatitudeRef: "N",
    GPS.GPSLatitude: (52.0, 30.0, 36.0),
    GPS.GPSLongitudeRef: "E",
    GPS.GPSLongitude: (13.0, 22.0, 30.0),
}


def write(path, gps=(), camera=(), other=()):
    exif = Image.Exif()
    exif.update({BASE.Make: "maker", **dict(other)})  # Pillow writes no EXIF to PNG that has directories alone.
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(gps)
    exif.get_ifd(ExifTags.IFD.Exif).update(camera)
    Image.new("RGB", (8, 6)).save(path, exif=exif)


def read(folder, name="a.jpg"):
    return read_exif(folder, np.array([name], np.dtypes.StringDType()))[0]


def seconds(*time):
    return datetime.datetime(*time, tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_place_direction_and_time_are_read(tmp_path, name):
    direction = {GPS.GPSImgDirection: 271.5, GPS.GPSImgDirectionRef: "M"}
    camera = {
        BASE.DateTimeOriginal: "2026:05:01 12:00:03",
        BASE.SubsecTimeOriginal: "25",
        BASE.OffsetTimeOriginal: "-03:30",
    }
    write(tmp_path / name, BERLIN | direction, camera)
    found = read(tmp_path, name)
    assert (found["latitude"], found["longitude"], found["heading"]) == pytest.approx((52.51, 13.375, 271.5))
    assert found["seconds"] == seconds(2026, 5, 1, 12, 0, 3) + 0.25
    assert found["offset"] == -3.5 * 3600
    assert found["magnetic"]


def test_south_and_west_are_below_zero(tmp_path):
    write(tmp_path / "a.jpg", BERLIN | {GPS.GPSLatitudeRef: "S", GPS.GPSLongitudeRef: "W"})
    found = read(tmp_path)
    assert (found["latitude"], found["longitude"]) == pytest.approx((-52.51, -13.375))


@pytest.mark.parametrize("latitude", [(91.0, 0.0, 0.0), (TiffImagePlugin.IFDRational(0, 0),) * 3, (1.0,) * 5])
def test_positions_that_cannot_be_are_unknown(tmp_path, latitude):
    write(tmp_path / "a.jpg", BERLIN | {GPS.GPSLatitude: latitude})
    found = read(tmp_path)
    assert np.isnan(found["latitude"])
    assert found["longitude"] == pytest.approx(13.375)


def test_without_a_time_of_the_camera_gps_says_it(tmp_path):
    clock = {GPS.GPSDateStamp: "2026:05:01", GPS.GPSTimeStamp: (10.0, 0.0, 3.0)}
    write(tmp_path / "a.jpg", BERLIN | clock, {BASE.DateTimeOriginal: "0000:00:00 00:00:00"})
    found = read(tmp_path)
    assert (found["seconds"], found["offset"]) == (seconds(2026, 5, 1, 10, 0, 3), 0)


def test_the_time_of_the_file_is_better_than_none(tmp_path):
    write(tmp_path / "a.jpg", other={BASE.DateTime: "2026:05:01 12:00:03"})
    assert read(tmp_path)["seconds"] == seconds(2026, 5, 1, 12, 0, 3)


def test_nothing_is_known_of_a_photo_without_exif_or_with_damaged_one(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "plain.jpg")
    Image.new("RGB", (8, 6)).save(tmp_path / "damaged.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x00")
    for name in ("plain.jpg", "damaged.jpg"):
        found = read(tmp_path, name)
        assert np.isnan([found[field] for field in ("latitude", "longitude", "heading", "seconds", "offset")]).all()
        assert not found["unreadable"]


def test_what_is_no_image_is_called_so(tmp_path):
    (tmp_path / "page.jpg").write_text("<html>not found</html>")
    names = np.array(["missing.jpg", "page.jpg"], np.dtypes.StringDType())
    assert read_exif(tmp_path, names)["unreadable"].all()
