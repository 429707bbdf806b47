import numpy as np
import pytest
from scipy.io import savemat

from keras_sare.datasets import ImageSet, PlaceDataset, open_databases, open_dataset, open_splits
from keras_sare.datasets.places import open_splits as module
from keras_sare.datasets.places.readers import READERS, PlaceReader


def write_mat(path):
    path.parent.mkdir(exist_ok=True)
    names = np.array([["a.jpg"]], object)
    savemat(
        path,
        {"dbStruct": {"dbImageFns": names, "utmDb": np.zeros((2, 1)), "qImageFns": names, "utmQ": np.zeros((2, 1))}},
    )


@pytest.mark.parametrize("folder", ["datasets", "."])
def test_mat_files_are_opened_by_split(tmp_path, folder):
    for split in ("test", "train"):
        write_mat(tmp_path / folder / f"city_{split}.mat")
    datasets = open_splits(tmp_path)
    assert {split: dataset.name for split, dataset in datasets.items()} == {"train": "city_train", "test": "city_test"}


def test_the_csv_file_comes_first(tmp_path):
    write_mat(tmp_path / "datasets/city_train.mat")
    (tmp_path / "places.csv").write_text("image,role,split,easting,northing\na,database,val,0,0\nb,query,val,0,0\n")
    assert list(open_splits(tmp_path)) == ["val"]


def test_a_prefix_chooses_between_datasets_in_one_folder(tmp_path):
    for name in ("pitts30k_train", "pitts250k_train", "pitts250k_val"):
        write_mat(tmp_path / "datasets" / f"{name}.mat")
    datasets = open_splits(tmp_path, prefix="pitts30k")
    assert {split: dataset.name for split, dataset in datasets.items()} == {"train": "pitts30k_train"}


def test_two_files_for_a_split_are_refused(tmp_path):
    for name in ("pitts30k_val", "pitts250k_val"):
        write_mat(tmp_path / "datasets" / f"{name}.mat")
    with pytest.raises(
        ValueError, match=r"fit the split 'val'; choose a dataset by `prefix`.*\['pitts250k_val.mat', 'pitts30k"
    ):
        open_splits(tmp_path)


def test_an_empty_folder_is_refused_with_what_was_looked_for(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"places.csv, datasets/\*_\{train,val,test\}.mat.* or .* Received: root="
    ):
        open_splits(tmp_path)


def test_a_folder_that_does_not_exist_is_called_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere, which is not a folder"):
        open_splits(tmp_path / "nowhere")


def test_one_split_is_opened_by_name(tmp_path):
    for split in ("test", "val"):
        write_mat(tmp_path / f"city_{split}.mat")
    assert open_dataset(tmp_path).name == "city_test"
    assert open_dataset(tmp_path, split="val", prefix="cit").name == "city_val"
    with pytest.raises(ValueError, match=r"`split` must be one that .* has: val, test. Received: split='train'"):
        open_dataset(tmp_path, split="train")


def test_another_reader_needs_no_more_than_to_be_named(tmp_path, monkeypatch):
    (tmp_path / "names.txt").write_text("b\na\n")

    def read(root, prefix):
        sides = [ImageSet([name], np.zeros((1, 2))) for name in (root / "names.txt").read_text().split()]
        return {"test": PlaceDataset("named", *sides)}

    reader = PlaceReader(("names.txt", "*.txt"), lambda root, prefix: (root / "names.txt").exists(), read)
    monkeypatch.setattr(module, "READERS", (*READERS, reader))
    assert open_dataset(tmp_path).queries.paths.tolist() == ["a"]
    assert open_databases(tmp_path)["test"].paths.tolist() == ["b"]
    with pytest.raises(FileNotFoundError, match=r"must hold places.csv, .*, names.txt or city\*.txt. Received: root="):
        open_splits(tmp_path / "nowhere", prefix="city")


def test_databases_are_opened_without_queries(tmp_path):
    names = np.array([["a.jpg"], ["b.jpg"]], object)
    savemat(tmp_path / "map_train.mat", {"dbStruct": {"dbImageFns": names, "utmDb": np.arange(4.0).reshape(2, 2)}})
    databases = open_databases(tmp_path)
    assert databases["train"].positions.tolist() == [[0, 2], [1, 3]]
    with pytest.raises(ValueError, match=r"must have the fields \['qImageFns', 'utmQ'\]"):
        open_splits(tmp_path)
    rows = ["image,role,split,lat,lon", "a,database,train,48,11", "b,query,val,48,11"]
    (tmp_path / "places.csv").write_text("\n".join(rows))
    databases = open_databases(tmp_path)
    assert {split: images.coordinates.tolist() for split, images in databases.items()} == {"train": [[48.0, 11.0]]}
    with pytest.raises(ValueError, match="train has no query, val has no database images"):
        open_splits(tmp_path)
