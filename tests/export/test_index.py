import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.converters.tflite import write_tflite
from export.index_file import open_map, write_index
from export.reading import Reading, reading_beside
from export.source import Source
from keras_sare.datasets import ImageSet, load_image
from keras_sare.datasets.places.readers.dbstruct import read_dbstruct_database
from keras_sare.utils.digests import path_digest

SIZE = (24, 32)


@pytest.fixture(scope="module")
def tflite(whitened_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("tflite") / "float32.tflite"
    write_tflite(Source(whitened_model, SIZE, "small_mac", "a test"), path)
    return path


@pytest.fixture(scope="module")
def fixed(whitened_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("fixed") / "float32.tflite"
    write_tflite(Source(whitened_model, SIZE, "small_mac", "a test"), path, fixed=True)
    return path


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(4):
        pixels = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 48)).save(tmp_path / "images" / f"{number}.jpg")
    return tmp_path


def known(root, positions=None, **arrays):
    paths = [root / "images" / f"{number}.jpg" for number in range(4)]
    metres = np.arange(8.0).reshape(4, 2) if positions is None else positions
    return ImageSet([str(path) for path in paths], metres, **arrays)


def read(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def test_index_holds_the_models_descriptors_and_says_what_is_what(whitened_model, tflite, root):
    places = ["a", "b", "", "a"]
    assert write_index(tflite, Reading(SIZE), known(root, places=np.array(places)), root, root / "index.npz") == 4
    index = read(root / "index.npz")
    photos = np.stack([load_image(root / "images" / f"{number}.jpg", SIZE) for number in range(4)])
    assert index["descriptors"].dtype == np.float16
    assert np.sum(index["descriptors"] * whitened_model(photos).numpy(), axis=1).min() > 0.999
    assert index["names"].tolist() == ["a", "b", "images/2.jpg", "a"]
    np.testing.assert_array_equal(index["positions"], np.arange(8.0).reshape(4, 2))
    assert index["axes"].tolist() == ["easting (m)", "northing (m)"]
    assert (index["size"].dtype, index["size"].tolist()) == (np.int64, [24, 32])
    assert str(index["orientation"]) == "upright"
    assert index["model"] == path_digest(tflite)


def test_degrees_are_kept_where_the_dataset_has_them(tflite, root):
    degrees = np.array([[48.1, 11.5], [48.2, 11.6], [48.3, 11.7], [48.4, 11.8]])
    write_index(tflite, Reading(SIZE), known(root, np.ones((4, 3)), coordinates=degrees), root, root / "index.npz")
    index = read(root / "index.npz")
    np.testing.assert_array_equal(index["positions"], degrees)
    assert index["axes"].tolist() == ["latitude", "longitude"]


def test_places_without_positions_have_no_axes(tflite, root):
    rooms = ImageSet(known(root).paths, places=np.array(["hall", "hall", "roof", "yard"]))
    write_index(tflite, Reading(SIZE), rooms, root, root / "index.npz")
    index = read(root / "index.npz")
    assert index["names"].tolist() == ["hall", "hall", "roof", "yard"]
    assert (index["positions"].shape, index["axes"].tolist()) == ((4, 0), [])
    assert index["axes"].dtype.kind == "U"


def test_photo_that_is_listed_twice_is_named(tflite, root, caplog):
    shutil.copy(root / "images/0.jpg", root / "images/3.jpg")
    with caplog.at_level(logging.WARNING):
        write_index(tflite, Reading(SIZE), known(root), root, root / "index.npz")
    assert [record.getMessage() for record in caplog.records] == [
        f"{root.name}, database: 1 of 4 images repeat one that is listed before, the same file or the same bytes "
        f"({root}/images/3.jpg is {root}/images/0.jpg). Take one of each two off the list."
    ]


def test_earth_centred_positions_have_three_axes(tflite, root):
    write_index(tflite, Reading(SIZE), known(root, np.ones((4, 3))), root, root / "index.npz")
    assert read(root / "index.npz")["axes"].tolist() == ["x (m)", "y (m)", "z (m)"]


def test_limit_of_the_longer_side_keeps_each_images_aspect_ratio(whitened_model, tflite, root):
    Image.open(root / "images" / "2.jpg").transpose(Image.Transpose.ROTATE_90).save(root / "images" / "2.jpg")
    write_index(tflite, Reading(40), known(root), root, root / "index.npz")
    index = read(root / "index.npz")
    photos = [load_image(root / "images" / f"{number}.jpg", 40)[None] for number in range(4)]
    assert [photo.shape[1:3] for photo in photos] == [(30, 40), (30, 40), (40, 30), (30, 40)]
    expected = np.concatenate([whitened_model(photo) for photo in photos])
    assert np.sum(index["descriptors"] * expected, axis=1).min() > 0.999
    assert index["size"].tolist() == [40]


def test_corrupt_images_are_named_and_left_out_with_their_places(tflite, root, caplog):
    (root / "images" / "1.jpg").write_bytes(b"no image")
    data = known(root, places=np.array(["a", "b", "c", "d"]))
    with caplog.at_level(logging.WARNING):
        assert write_index(tflite, Reading(SIZE), data, root, root / "index.npz", max_corrupt_share=0.5) == 3
    assert "1.jpg" in caplog.text
    assert "1 of 4 images cannot be read" in caplog.text
    index = read(root / "index.npz")
    assert index["names"].tolist() == ["a", "c", "d"]
    assert index["positions"].tolist() == [[0, 1], [4, 5], [6, 7]]
    assert len(index["descriptors"]) == 3


def test_too_many_corrupt_images_stop_it(tflite, root):
    (root / "images" / "1.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match="1 of the 4 `database` images of '.*' cannot be read"):
        write_index(tflite, Reading(SIZE), known(root), root, root / "index.npz")
    assert not (root / "index.npz").exists()


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_images_that_cannot_be_described_count_as_those_that_cannot_be_read(tflite, root, share, caplog):
    Image.new("RGB", (64, 2)).save(root / "images" / "1.jpg")  # 24 x 0 pixels: nothing is left of it.
    (root / "images" / "2.jpg").write_bytes(b"no image")
    arguments = tflite, Reading(24), known(root), root, root / "index.npz", share
    if share == 0.5:
        assert write_index(*arguments) == 2
    else:
        with pytest.raises(ValueError, match="1 of the first 2 images that can be read have no descriptor, at most 0"):
            write_index(*arguments)
    assert (root / "index.npz").exists() == (share == 0.5)
    assert "images/1.jpg is left out" in caplog.text


def test_model_of_one_size_takes_that_size_only(fixed, root):
    write_index(fixed, Reading(SIZE), known(root), root, root / "index.npz")
    with pytest.raises(ValueError, match="`image_size` must be 24,32, the only size that the model takes"):
        write_index(fixed, Reading((32, 24)), known(root), root, root / "other.npz")
    with pytest.raises(ValueError, match="Received: image_size=40"):
        write_index(fixed, Reading(40), known(root), root, root / "other.npz")


def test_photos_are_read_as_the_manifest_says_where_nothing_else_is_asked_for(tmp_path):
    for resize, expected in (({"height": 480, "width": 640}, (480, 640)), ({"longer_side": 1024}, 1024)):
        known = {"resize": resize | {"antialias": True}, "orientation": "stored"}
        (tmp_path / "small.json").write_text(json.dumps({"preprocessing": known}))
        assert reading_beside(tmp_path / "small.tflite") == Reading(expected, "stored")
        assert reading_beside(tmp_path / "small.tflite", 99, "upright") == Reading(99)
        (tmp_path / "small.json").write_text(json.dumps({"preprocessing": {"resize": resize}}))
        assert reading_beside(tmp_path / "small.tflite") == Reading(expected)


def test_size_without_a_manifest_must_be_given(tmp_path):
    with pytest.raises(FileNotFoundError, match="`image_size` must say .* Received: model=.*without small.json"):
        reading_beside(tmp_path / "small.tflite")


def test_file_beside_the_model_that_is_no_manifest_is_none(tmp_path):
    (tmp_path / "small.json").write_text('{"preprocessing": null}')
    with pytest.raises(FileNotFoundError, match="`image_size` must say"):
        reading_beside(tmp_path / "small.tflite")


def test_model_must_be_an_existing_tflite_file(root):
    with pytest.raises(FileNotFoundError, match="`model` must name an existing TFLite file. Received: model=.*none"):
        write_index(root / "none", Reading(SIZE), known(root), root, root / "index.npz")
    (root / "model.tflite").write_bytes(b"no model")
    with pytest.raises(ValueError, match="`model` must be a TFLite file: .*Received: model="):
        write_index(root / "model.tflite", Reading(SIZE), known(root), root, root / "index.npz")


def test_model_without_normalised_descriptors_is_refused(tflite, root, monkeypatch):
    monkeypatch.setattr("export.index_file.extract", lambda *_: np.ones(8, np.float32))
    with pytest.raises(ValueError, match=r"one descriptor of norm 1 .* which gives \(8,\) of norm 2.828"):
        write_index(tflite, Reading(SIZE), known(root), root, root / "index.npz")
    assert not (root / "index.npz").exists()


def test_output_must_be_called_npz(tflite, root):
    with pytest.raises(ValueError, match="`output` must be a .npz file. Received: output='index'"):
        write_index(tflite, Reading(SIZE), known(root), root, Path("index"))


def test_missing_runtime_is_named_with_the_line_that_installs_it(tflite, root, monkeypatch):
    monkeypatch.delitem(sys.modules, "export.localise", raising=False)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ImportError, match=r'ai_edge_litert.interpreter must .*pip install "keras-sare\[export\]"'):
        write_index(tflite, Reading(SIZE), known(root), root, root / "index.npz")


def test_program_reads_a_datasets_folder_and_the_manifest(tflite, root):
    splits = ["train", "val", "test", "test"]
    rows = [f"{i}.jpg,database,48.{i},11.5,place {i},{split}" for i, split in enumerate(splits)]
    # A photo that two splits list, and no query anywhere.
    rows.append("0.jpg,database,48.0,11.5,place 0,test")
    (root / "places.csv").write_text("\n".join(["image,role,lat,lon,place,split", *rows]))
    shutil.copy(tflite, root / "model.tflite")
    resize = {"height": 24, "width": 32}
    (root / "model.json").write_text(json.dumps({"preprocessing": {"resize": resize}}))
    command = [sys.executable, "-m", "export.index", "--model=model.tflite", "--root=.", "--output=index.npz"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    wrote = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert "Database images: 4 (train 1, val 1, test 3; 1 listed more than once)" in wrote.stderr, wrote.stderr
    assert "Wrote index.npz: 4 images, 0 left out" in wrote.stderr, wrote.stderr
    index = read(root / "index.npz")
    assert index["names"].tolist() == [f"place {number}" for number in range(4)]
    np.testing.assert_allclose(index["positions"], [[48 + number / 10, 11.5] for number in range(4)])


def town(root, rows):
    (root / "places.csv").write_text("\n".join(["image,role,easting,northing,split", *rows]))
    return root


def files(images):
    return [Path(path).name for path in images.paths.tolist()]


def test_map_is_the_database_of_all_splits_each_photo_once_and_needs_no_query(root):
    rows = ["0.jpg,database,0,0,train", "1.jpg,database,1,0,train", "./0.jpg,database,0,0,test", "2.jpg,query,2,0,val"]
    images = open_map(town(root, rows))
    assert files(images) == ["0.jpg", "1.jpg"]
    assert images.positions.tolist() == [[0, 0], [1, 0]]


def test_splits_may_be_chosen(root):
    rows = [f"{number}.jpg,database,0,0,{split}" for number, split in enumerate(["train", "val", "test", "all"])]
    town(root, rows)
    assert files(open_map(root, splits=["test", "train"])) == ["2.jpg", "3.jpg", "0.jpg"]
    with pytest.raises(
        ValueError, match="`split` must be among those with .*, train, val, test. Received: split='tst'"
    ):
        open_map(root, splits=["tst"])


def test_map_without_database_images_is_refused(root):
    with pytest.raises(ValueError, match="`root` must list at least one database image"):
        open_map(town(root, ["0.jpg,query,0,0,test"]))


def test_map_of_real_splits_is_all_their_databases(real_data):
    images = open_map(real_data / "ie_tower")
    assert len(images) == 324 + 136 + 308
    mats = [
        read_dbstruct_database(file, real_data / "ie_tower") for file in (real_data / "ie_tower/datasets").iterdir()
    ]
    assert set(images.paths.tolist()) == {path for mat in mats for path in mat.paths.tolist()}
