import numpy as np
import pytest

from export.calibration import COUNT, CalibrationPhotos, choose_calibration
from export.sample_photos import sample_photo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(6):
        (folder / f"{number}.jpg").write_bytes(sample_photo(number, (30, 40)))
    return folder


@pytest.fixture(scope="module")
def dataset(folder):
    """A dataset of places whose training split has photos 0 and 1 in its database."""
    lines = ["image,role,easting,northing,split"]
    for number in range(6):
        split = "train" if number < 3 else "test"
        lines.append(f"{number}.jpg,{'query' if number % 3 == 2 else 'database'},{number},0,{split}")
    for part in ("images", "queries"):
        (folder.parent / part).symlink_to(folder)
    (folder.parent / "places.csv").write_text("\n".join(lines) + "\n")
    return folder.parent


def names(photos):
    return [path.rsplit("/")[-1] for path in photos.paths]


def test_photos_come_as_the_model_is_fed_with_them(folder):
    batches = list(choose_calibration({}, (24, 32), str(folder), None, "").batches())
    assert [batch.shape for batch in batches] == [(4, 24, 32, 3), (2, 24, 32, 3)]
    assert batches[0].dtype == np.float32
    assert 100 < batches[0].max() <= 255


def test_photos_that_keep_their_aspect_ratio_come_too(folder):
    assert {batch.shape[1:3] for batch in choose_calibration({}, 20, str(folder), None, "").batches()} == {(15, 20)}


def test_of_many_a_few_are_taken_spread_evenly(folder):
    paths = np.array([str(folder / f"{number % 6}.jpg") for number in range(3 * COUNT + 1)])
    photos = CalibrationPhotos(paths, (24, 32))
    assert len(photos.paths) == COUNT
    assert [photos.paths[0], photos.paths[-1]] == [paths[0], paths[-1]]


def test_training_split_of_the_dataset_is_the_default(dataset, folder):
    assert names(choose_calibration({}, (24, 32), None, str(dataset), "")) == ["0.jpg", "1.jpg"]
    assert names(choose_calibration({"root": str(dataset)}, (24, 32), None, None, "")) == ["0.jpg", "1.jpg"]
    assert len(choose_calibration({"root": str(dataset)}, (24, 32), str(folder), None, "").paths) == 6


def test_without_photos_there_are_none(tmp_path):
    assert choose_calibration({}, (24, 32), None, None, "") is None
    assert choose_calibration({"root": str(tmp_path / "gone")}, (24, 32), None, None, "") is None


def test_photo_that_cannot_be_read_is_named(folder, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match="must be readable; 1 of 1 are not.*Received: .*bad.jpg: not a JPEG"):
        choose_calibration({}, (24, 32), str(tmp_path), None, "")
    with pytest.raises(ValueError, match="`paths` must hold at least one photo"):
        CalibrationPhotos(np.array([]), (24, 32))
