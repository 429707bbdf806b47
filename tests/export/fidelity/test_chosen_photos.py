import logging
import shutil

import numpy as np
import pytest

from export.fidelity.chosen_photos import choose_photos
from export.quantisation.sample_photos import sample_photo
from keras_sare.datasets import SfMDataset, load_image


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three database images and two queries in the test split."""
    folder = tmp_path_factory.mktemp("places")
    lines = ["image,role,easting,northing,split"]
    for number, role in enumerate(["database"] * 3 + ["query"] * 2):
        (folder / f"{number}.jpg").write_bytes(sample_photo(number, (24, 32)))
        lines.append(f"{number}.jpg,{role},{30 * (number % 3)},0,test")
    (folder / "places.csv").write_text("\n".join(lines))
    return folder


def choose(folder, settings=None, images=None, root=None, prefix="", split="test", max_images=None, size=None):
    return choose_photos(settings or {}, images, root, prefix, split, max_images, folder, size)


def test_photos_are_those_that_the_run_was_evaluated_on(root, tmp_path):
    photos = choose(tmp_path, {"root": str(root), "prefix": ""})
    assert len(photos.paths) == 5
    assert len(photos.places.queries) == 2


def test_what_is_right_is_as_in_the_run(root, tmp_path):
    photos = choose(tmp_path, {"root": str(root), "negative_radius": 40.0, "other_timestamps": True})
    assert (photos.radius, photos.places.other_timestamps) == (40, False)  # There are no timestamps to compare.
    timed = tmp_path / "timed"
    shutil.copytree(root, timed)
    lines = (timed / "places.csv").read_text().splitlines()
    lines = [f"{line},{'timestamp' if number == 0 else number}" for number, line in enumerate(lines)]
    (timed / "places.csv").write_text("\n".join(lines))
    assert choose(tmp_path, {"root": str(timed), "other_timestamps": True}).places.other_timestamps


def test_radius_that_is_named_comes_before_that_of_the_run(root, tmp_path):
    photos = choose_photos({"negative_radius": 40.0}, None, str(root), "", "test", None, tmp_path, radius=7.0)
    assert photos.radius == 7


def test_dataset_that_is_named_comes_before_that_of_the_run(root, tmp_path):
    photos = choose(tmp_path, {"root": str(tmp_path / "other")}, root=str(root), max_images=4)
    assert len(photos.paths) == 4


def test_files_of_one_of_several_datasets_are_told_by_their_prefix(root, tmp_path, monkeypatch):
    asked = []

    def open_splits(root, prefix):
        asked.append((root, prefix))
        raise FileNotFoundError

    monkeypatch.setattr("export.fidelity.chosen_photos.open_splits", open_splits)
    of_run = {"root": str(root), "prefix": "pitts30k"}
    for given in ({"settings": of_run}, {"settings": of_run, "prefix": "tokyo"}, {"root": "a", "prefix": "b"}):
        with pytest.raises(FileNotFoundError):
            choose(tmp_path, **given)
    assert asked == [(str(root), "pitts30k"), (str(root), "tokyo"), ("a", "b")]


def test_folder_of_photos_has_no_places(root, tmp_path):
    photos = choose(tmp_path, {"root": str(root)}, images=str(root))
    assert photos.places is None
    assert len(photos.paths) == 5


def test_pictures_are_rendered_where_there_are_no_photos(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "keras_sare.export"):
        photos = choose(tmp_path)
    assert "rendered" in photos.description
    assert len(photos.paths) == len(list(tmp_path.iterdir())) >= 8
    assert "--root=DATASET gives recalls" in caplog.text


def test_pictures_are_rendered_as_large_as_photos_will_be(tmp_path):
    photos = choose(tmp_path, size=64)
    assert {load_image(path).shape for path in photos.paths} == {(48, 64, 3)}


def test_run_on_3d_models_gives_its_validation_photos(root, tmp_path):
    paths = [str(root / f"{number}.jpg") for number in range(5)] + [str(tmp_path / "gone.jpg")]
    models = np.array([0, 0, 0, 0, 1, 1])
    SfMDataset("houses", paths, models, models).save(tmp_path / "sfm.npz")
    settings = {"dataset": str(tmp_path / "sfm.npz"), "images": None, "leave_out": None, "val_share": 0.4, "seed": 0}
    photos = choose(tmp_path, {**settings, "val_share": 0.7}, max_images=3)
    assert photos.places is None
    assert photos.description == "validation photos of the run, an evenly spread sample of 4 photos: 3 photos"
    assert {path.rsplit("/", 1)[1] for path in photos.paths} <= {"0.jpg", "1.jpg", "2.jpg", "3.jpg"}
    assert choose(tmp_path, settings, root=str(root)).places is not None


def test_pictures_are_rendered_where_the_photos_of_3d_models_are_gone(tmp_path, caplog):
    settings = {"dataset": str(tmp_path / "gone.npz"), "images": None, "leave_out": None, "val_share": 0.4, "seed": 0}
    assert "rendered" in choose(tmp_path, settings).description
    assert "The val photos of the run are out of reach" in caplog.text


def test_run_that_tolerated_more_damaged_photos_is_measured_without_them(tmp_path):
    lines = ["image,role,easting,northing,split"]
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(sample_photo(number, (24, 32)) if number else b"")
        lines.append(f"{number}.jpg,{'query' if number == 3 else 'database'},0,0,test")
    (tmp_path / "places.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="1 of the 3 `database` images of '.*' cannot be read, at most 0 may be"):
        choose(tmp_path, {"root": str(tmp_path), "max_corrupt_share": 0.01})
    assert len(choose(tmp_path, {"root": str(tmp_path), "max_corrupt_share": 0.4}).paths) == 3


def test_photos_of_a_run_that_are_gone_are_asked_for(tmp_path, caplog):
    gone = tmp_path / "gone"
    (tmp_path / "rendered").mkdir()
    assert "rendered" in choose(tmp_path / "rendered", {"root": str(gone)}).description
    assert f"The photos of the run are not in {gone} any more: name their folder with --root" in caplog.text


def test_photos_are_named_in_one_way(tmp_path):
    with pytest.raises(ValueError, match="`images` and `root` exclude each other. Received: images='a', root='b'"):
        choose(tmp_path, images="a", root="b")


def test_unknown_split_lists_those_there_are(root, tmp_path):
    with pytest.raises(ValueError, match="`split` must be one of test. Received: split='val'"):
        choose(tmp_path, root=str(root), split="val")
