import pickle

import numpy as np
import pytest

from export.quantisation.calibration import COUNT, CalibrationPhotos, choose_calibration, photos_of_models
from export.quantisation.sample_photos import sample_photo
from keras_sare.datasets import SfMDataset


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


@pytest.fixture
def sfm_run(folder, tmp_path):
    """Settings of a run on six photos of three models, one of them left out for a test set and one for validation."""
    paths = [str(folder / f"{number}.jpg") for number in range(6)]
    models = np.arange(6) // 2
    SfMDataset("houses", paths, models, models).save(tmp_path / "sfm.npz")
    (tmp_path / "tested.txt").write_text("3\n\n")
    settings = {"dataset": str(tmp_path / "sfm.npz"), "images": None, "val_share": 0.5, "seed": 0}
    return {**settings, "leave_out": str(tmp_path / "tested.txt")}


def test_run_on_3d_models_gives_its_own_training_photos(sfm_run, folder, dataset):
    train, val = (photos_of_models(sfm_run, split).tolist() for split in ("train", "val"))
    assert sorted(path[-5:] for path in train + val) == ["0.jpg", "1.jpg", "4.jpg", "5.jpg"]
    assert len(train) == 2
    assert choose_calibration(sfm_run, (24, 32), None, None, "").paths.tolist() == train
    assert len(photos_of_models({**sfm_run, "leave_out": None}, "train")) == 4
    assert len(choose_calibration(sfm_run, (24, 32), str(folder), None, "").paths) == 6
    assert names(choose_calibration(sfm_run, (24, 32), None, str(dataset), "")) == ["0.jpg", "1.jpg"]


def test_run_on_a_published_list_gives_the_photos_of_the_list(tmp_path):
    for name in ("abcdef", "bcdefg"):
        path = tmp_path / name[-2:] / name[-4:-2] / name[-6:-4] / name
        path.parent.mkdir(parents=True)
        path.write_bytes(sample_photo(0, (24, 32)))
    lists = {"cids": ["abcdef", "bcdefg"], "qidxs": [0], "pidxs": [1], "cluster": [0, 0]}
    (tmp_path / "list.pkl").write_bytes(pickle.dumps({"train": lists, "val": lists}))
    settings = {"dataset": str(tmp_path / "list.pkl"), "images": str(tmp_path), "leave_out": None}
    assert names(choose_calibration(settings, 20, None, None, "")) == ["abcdef", "bcdefg"]


def test_photos_of_3d_models_that_are_gone_are_told(sfm_run, tmp_path, caplog):
    gone = SfMDataset("gone", [str(tmp_path / f"no{n}.jpg") for n in range(6)], np.arange(6) // 2, np.arange(6) // 2)
    gone.save(tmp_path / "gone.npz")
    settings = {**sfm_run, "dataset": str(tmp_path / "gone.npz"), "leave_out": None}
    assert choose_calibration(settings, (24, 32), None, None, "") is None
    assert f"The train photos of the run are not there any more, such as {tmp_path / 'no'}" in caplog.text
    assert photos_of_models({**sfm_run, "dataset": str(tmp_path / "no.npz")}, "val") is None
    assert "The val photos of the run are out of reach: `path` must be a file that" in caplog.text
    assert photos_of_models({}, "val") is None


def test_photos_that_cannot_be_read_are_left_out_up_to_half(folder, tmp_path, caplog):
    for number in range(2):
        (tmp_path / f"good{number}.jpg").write_bytes(sample_photo(number, (30, 40)))
        (tmp_path / f"bad{number}.jpg").write_bytes(b"no image")
    photos = choose_calibration({}, (24, 32), str(tmp_path), None, "")
    assert names(photos) == ["good0.jpg", "good1.jpg"]
    assert sum(len(batch) for batch in photos.batches()) == 2
    assert "bad1.jpg: not a JPEG" in caplog.text
    assert "calibration: 2 of 4 images cannot be read" in caplog.text
    (tmp_path / "bad2.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="3 of the 5 `calibration` images .* at most 2 may.*Received: .*bad0.jpg: not"):
        choose_calibration({}, (24, 32), str(tmp_path), None, "")


def test_there_must_be_a_photo_that_can_be_read(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(
        ValueError,
        match="1 of the 1 `calibration` images .* at most 0 .*mend .*Received: .*bad.jpg: not a JPEG",
    ):
        choose_calibration({}, (24, 32), str(tmp_path), None, "")
    with pytest.raises(ValueError, match="`paths` must hold at least one photo"):
        CalibrationPhotos(np.array([]), (24, 32))
