import json

import numpy as np
import pytest

from keras_sare.datasets.photo_import.gpx_track import parse_time
from keras_sare.datasets.photo_import.mapillary import DESCRIPTION, read_mapillary

NAMES = np.array(["a.jpg", "day1/b.jpg", "day2/b.jpg", "c.jpg"], np.dtypes.StringDType())
ENTRY = {
    "filename": "/home/me/walk/day2/b.jpg",
    "filetype": "image",
    "MAPLatitude": 48.25,
    "MAPLongitude": -11.5,
    "MAPCaptureTime": "2026_05_01_12_00_03_250",
    "MAPCompassHeading": {"TrueHeading": -90.0, "MagneticHeading": 17.0},
    "MAPSequenceUUID": "3f2a-77",
}


def read(folder, *entries):
    path = folder / DESCRIPTION
    path.write_text(json.dumps(list(entries)))
    return read_mapillary(path, NAMES)


def test_an_entry_is_found_by_the_end_of_its_path(tmp_path):
    photos, findings = read(tmp_path, ENTRY)
    assert findings == []
    assert photos.located.tolist() == [False, False, True, False]
    assert (photos.latitudes[2], photos.longitudes[2], photos.headings[2]) == (48.25, -11.5, 270)
    assert photos.seconds[2] == parse_time("2026-05-01T12:00:03.25Z")
    assert photos.sequences.tolist() == ["", "", "3f2a-77", ""]


@pytest.mark.parametrize(
    ("filename", "found"),
    [("C:\\walk\\day1\\b.jpg", 1), ("elsewhere/c.jpg", 3), ("a.jpg", 0), ("b.jpg", None), ("xa.jpg", None), (7, None)],
)
def test_names_of_other_machines_are_found_where_they_mean_one_photo(tmp_path, filename, found):
    photos, findings = read(tmp_path, ENTRY | {"filename": filename})
    assert np.flatnonzero(photos.located).tolist() == ([] if found is None else [found])
    assert [one.kind for one in findings] == (["missing"] if found is None else [])


def test_the_least_that_an_entry_says_is_enough(tmp_path):
    photos, findings = read(tmp_path, {"filename": "a.jpg", "MAPLatitude": 0, "MAPLongitude": 1})
    assert findings == []
    assert photos.located[0]
    assert np.isnan(photos.headings).all()
    assert np.isnan(photos.seconds).all()


def test_all_that_does_not_fit_is_named(tmp_path):
    _, findings = read(
        tmp_path,
        ENTRY | {"error": {"type": "MapillaryGeoTaggingError"}},
        ENTRY | {"MAPLatitude": "48"},
        ENTRY | {"filetype": "gopro", "filename": "v.mp4"},
        ENTRY | {"filename": "gone.jpg"},
    )
    assert [(one.kind, one.message) for one in findings] == [
        ("no_position", "2 entries have an error or no position (/home/me/walk/day2/b.jpg)"),
        ("video", "1 entries describe videos, which are not read (v.mp4)"),
        ("missing", "1 entries name no photo of the folder (gone.jpg)"),
    ]


@pytest.mark.parametrize("text", ['{"a": 1}', "[1]", "[" * 100_000, ""])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / DESCRIPTION).write_text(text)
    with pytest.raises(ValueError, match=rf"`path` must be .* Received: path=.*{DESCRIPTION}"):
        read_mapillary(tmp_path / DESCRIPTION, NAMES)
