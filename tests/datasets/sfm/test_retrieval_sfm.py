import os
import pickle

import numpy as np
import pytest

from keras_sare.datasets.sfm.retrieval_sfm import read_retrieval_sfm

CIDS = ["0123456789abcdef", "ffeeddccbbaa9988", "00000000000a0b0c", "1111111111aabbcc"]


def split(**changes):
    return {"cids": CIDS, "cluster": [5, 5, 9, 9], "qidxs": [0, 3], "pidxs": [1, 2], "bbxs": None} | changes


def pickled(tmp_path, content, protocol=2):
    path = tmp_path / "retrieval-SfM-toy.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", [list, np.array])
def test_a_split_has_its_pairs_and_clusters(tmp_path, protocol, kind):
    content = {"train": split(cluster=kind([5, 5, 9, 9]), qidxs=kind([0, 3])), "val": split(cluster=[1, 1, 1, 1])}
    path = pickled(tmp_path, content, protocol)

    train, val = (read_retrieval_sfm(path, "/images", name) for name in ("train", "val"))

    assert (train.name, val.name) == ("retrieval-SfM-toy_train", "retrieval-SfM-toy_val")
    assert train.models.tolist() == train.clusters.tolist() == [5, 5, 9, 9]
    assert val.clusters.tolist() == [1, 1, 1, 1]
    assert train.pairs.tolist() == [[0, 1], [3, 2]]
    assert (train.centres, train.points) == (None, None)


def test_images_lie_in_folders_of_their_last_letters(tmp_path):
    paths = read_retrieval_sfm(pickled(tmp_path, split()), "/images").paths.tolist()

    assert paths[0] == "/images/ef/cd/ab/0123456789abcdef"
    assert paths[2] == "/images/0c/0b/0a/00000000000a0b0c"


def test_a_list_for_whitening_gets_the_connected_components_of_its_pairs(tmp_path):
    content = {"cids": [*CIDS, "abcdefabcdef"], "qidxs": [0, 2, 1], "pidxs": [1, 3, 0]}

    data = read_retrieval_sfm(pickled(tmp_path, content), "/images")

    assert data.name == "retrieval-SfM-toy"
    assert data.clusters.tolist() == [0, 0, 1, 1, 2]
    assert data.models.tolist() == data.clusters.tolist()


def test_a_split_without_pairs_is_read(tmp_path):
    assert read_retrieval_sfm(pickled(tmp_path, split(qidxs=[], pidxs=[])), "/images").pairs.shape == (0, 2)


def nested(levels=40):
    """A list that holds one list twice, and so on: its text would have 2 ** levels parts."""
    inner = ["abc"]
    for _ in range(levels):
        inner = [inner, inner]
    return inner


class Harmful:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ({"train": split()}, "test", "`split` must name a retrieval-SfM list; there is no 'test'.*with .'train'"),
        ({"train": split()}, None, "there is no 'cids'. Lists lie in a split: name it.*with .'train'"),
        (split(), "train", "`split` must name a retrieval-SfM list; there is no 'train'.*with .*'cids'"),
        ([1, 2], None, "`path` must name a retrieval-SfM list.*with list"),
        ({"cids": CIDS, "qidxs": [0]}, None, "there is no 'pidxs'"),
        (split(pidxs=[1]), None, "`path` must hold a positive for each query. Received: 2 qidxs, 1 pidxs"),
        (split(pidxs=[1, 4]), None, "`path` must hold pairs of its 4 images. Received: numbers from 0 to 4"),
        (split(qidxs=[0.5, 1.0]), None, r"must hold a list of whole numbers as qidxs.*qidxs\[0\] of type float"),
        (split(qidxs=nested()), None, r"must hold a list of whole numbers as qidxs.*qidxs\[0\] of type list"),
        (split(cluster=[[1], [1], [1], [1]]), None, "`path` must hold a list of whole numbers as cluster"),
        (split(cluster=[1]), None, r"`models` must have the shape \(4,\)"),
        (split(cids=["../../../../etc/passwd", *CIDS[1:]]), None, "six or more characters. Received: '../.*passwd'"),
        (split(cids=["a.jpg", *CIDS[1:]]), None, "`path` must list image names.*Received: 'a.jpg'"),
        (split(cids=[7, *CIDS[1:]]), None, r"must hold a list of image names as cids.*cids\[0\] of type int"),
        (split(cids=3), None, "must hold a list of image names as cids.*cids of type int"),
        (split(cids=nested()), None, r"must hold a list of image names as cids.*cids\[0\] of type list"),
        ({("a" * 9,) * 9: 1, "x": 2}, "test", r"there is no 'test'.*with \['x'\]$"),
        (split(more=Harmful()), None, "`path` must be a pickle of plain data.*system"),
    ],
)
def test_anything_else_is_refused(tmp_path, content, name, message):
    with pytest.raises(ValueError, match=message):
        read_retrieval_sfm(pickled(tmp_path, content), "/images", name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no.pkl"):
        read_retrieval_sfm(tmp_path / "no.pkl", "/images", "train")
