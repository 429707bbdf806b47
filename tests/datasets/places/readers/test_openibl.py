import json

import pytest

from keras_sare.datasets import open_databases, open_dataset, open_splits

META = {
    "name": "Pittsburgh_30k",
    "identities": [["db/000_1.jpg", "db/000_2.jpg"], ["db/001_1.jpg"], ["q/0_1.jpg", "q/0_2.jpg"]],
    "utm": [[585000.5, 4477000], [585900, 4477000], [585003.5, 4477004]],
}
SPLITS = {"q_train": [], "db_train": [], "q_val": [], "db_val": [1], "q_test": [2], "db_test": [1, 0]}


def write(root, meta, splits, name=""):
    (root / f"meta{name}.json").write_text(meta if isinstance(meta, str) else json.dumps(meta))
    (root / f"splits{name}.json").write_text(json.dumps(splits))


def test_identities_are_the_images_of_a_position(tmp_path):
    (tmp_path / "raw").mkdir()
    write(tmp_path, META, SPLITS | {"db_val": []})
    assert list(open_splits(tmp_path)) == ["test"]
    dataset = open_dataset(tmp_path)
    assert dataset.name == "Pittsburgh_30k_test"
    names = ("db/000_1.jpg", "db/000_2.jpg", "db/001_1.jpg")
    assert dataset.database.paths.tolist() == [f"{tmp_path}/raw/{name}" for name in names]
    assert dataset.database.places.tolist() == ["0", "0", "1"]
    assert dataset.distance(1, 0) == 5
    assert [near.tolist() for near in dataset.positives(radius=25)] == [[0, 1], [0, 1]]


def test_a_prefix_chooses_between_scales(tmp_path):
    write(tmp_path, META, SPLITS | {"db_val": []}, "_30k")
    write(tmp_path, META | {"name": "large"}, SPLITS | {"db_val": []}, "_250k")
    assert open_dataset(tmp_path, prefix="250k").name == "large_test"
    with pytest.raises(ValueError, match=r"choose by `prefix`.*found \['meta_250k.json', 'meta_30k.json'\]"):
        open_splits(tmp_path)


def test_databases_need_no_queries(tmp_path):
    write(tmp_path, META, SPLITS)
    assert {split: len(images) for split, images in open_databases(tmp_path).items()} == {"val": 1, "test": 3}
    with pytest.raises(ValueError, match="`queries` must hold at least one image: dataset 'Pittsburgh_30k_val'"):
        open_splits(tmp_path)


@pytest.mark.parametrize(
    ("meta", "splits", "message"),
    [
        ("[1", SPLITS, "`path` must be a whole JSON file"),
        ("[" * 100_000, SPLITS, "`path` must be a whole JSON file"),
        ([], SPLITS, "must hold identities and utm, as OpenIBL writes it.*Received: list"),
        (META, {"train": []}, r"must hold q_test and db_test, .*Received: \['train'\]"),
        (META | {"identities": {}}, SPLITS, "`identities` must be a list"),
        (META | {"identities": [["a"], [7], ["b"]]}, SPLITS, r"list of image names as identities\[1\]"),
        (META | {"utm": META["utm"][:2]}, SPLITS, "each of the 3 identities; .*Received: 2 entries"),
        (META | {"utm": [[1, 2], [3], [4, 5]]}, SPLITS, r"each of the 3 identities; .*another entry as utm\[1\]"),
        (META | {"utm": [[1, 2], [3, float("nan")], [4, 5]]}, SPLITS, r"another entry as utm\[1\]"),
        (META, SPLITS | {"db_val": [3]}, "`db_val` must hold numbers of the 3 identities .*Received: 3,"),
        (META, SPLITS | {"db_val": [-1]}, "`db_val` must hold numbers of the 3 identities .*Received: -1,"),
        (META, SPLITS | {"db_val": ["0"]}, "list of whole numbers as db_val"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, meta, splits, message):
    write(tmp_path, meta, splits)
    with pytest.raises(ValueError, match=message) as error:
        open_databases(tmp_path)
    assert str(tmp_path) in str(error.value)
