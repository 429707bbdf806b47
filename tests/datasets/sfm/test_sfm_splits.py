import numpy as np
import pytest

from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.datasets.sfm.sfm_splits import split_clusters, without_models_of


def photos(clusters, names=None, pairs=None):
    """Each cluster has two models, where it has two photos."""
    clusters = np.array(clusters)
    models = 2 * clusters + np.arange(len(clusters)) % 2
    names = names or [f"{i}.jpg" for i in range(len(clusters))]
    return SfMDataset("toy", np.array([f"/folder/{name}" for name in names]), models, clusters, pairs=pairs)


def test_no_cluster_is_on_both_sides_and_no_photo_is_lost():
    data = photos(np.repeat(np.arange(20), np.arange(1, 21)))

    for seed in range(10):
        train, val = split_clusters(data, 0.2, seed)

        assert not set(train.clusters.tolist()) & set(val.clusters.tolist())
        assert sorted(train.paths.tolist() + val.paths.tolist()) == sorted(data.paths.tolist())
        assert 0 < len(val) <= 0.2 * len(data)


def test_sides_are_named_and_keep_the_order_of_photos_and_their_pairs():
    train, val = split_clusters(photos([7, 8, 7, 8, 9, 9], pairs=[[0, 2], [1, 3], [4, 5]]), 0.4)

    assert (train.name, val.name) == ("toy_train", "toy_val")
    assert (len(train.pairs), len(val.pairs)) == (2, 1)
    for side in (train, val):
        assert side.paths.tolist() == sorted(side.paths.tolist())
        assert (side.clusters[side.pairs[:, 0]] == side.clusters[side.pairs[:, 1]]).all()


def test_the_seed_decides():
    data = photos(np.repeat(np.arange(30), 2))
    chosen = [split_clusters(data, 0.3, seed)[1].paths.tolist() for seed in (0, 0, 1)]

    assert chosen[0] == chosen[1] != chosen[2]


def test_where_no_cluster_fits_the_smallest_is_held_out():
    _, val = split_clusters(photos([1, 1, 1, 2, 2, 3, 3, 3]), 0.1)

    assert val.clusters.tolist() == [2, 2]


@pytest.mark.parametrize("share", [0, 1, -0.2, 1.5])
def test_the_share_must_leave_something_on_both_sides(share):
    with pytest.raises(ValueError, match=f"`share` must be between 0 and 1. Received: share={share}"):
        split_clusters(photos([1, 2]), share)


def test_one_cluster_cannot_be_split():
    with pytest.raises(ValueError, match="`dataset` must have at least two clusters.*Received: 1 clusters of 3 photos"):
        split_clusters(photos([4, 4, 4]), 0.5)


def test_all_of_a_cluster_goes_with_one_of_its_photos():
    data = photos([1, 1, 1, 2, 2, 3])

    kept = without_models_of(data, np.array(["1.jpg", "5.jpg", "of no model.jpg"]))

    assert kept.paths.tolist() == ["/folder/3.jpg", "/folder/4.jpg"]
    assert kept.name == "toy"


def test_names_count_whole():
    """Not cut to the length of the others, nor found inside of them."""
    data = photos([1, 2, 3], names=["ab.jpg", "sub/abc.jpg", "b.jpg"])

    assert without_models_of(data, np.array(["b.jpgx", "abc.jp", "abc.jpg.jpg", "", "b.jpg"])).clusters.tolist() == [
        1,
        2,
    ]


@pytest.mark.parametrize("name", ["my abc", "my abc.jpg", "my abc.JPG", "my abc.png", "other/my abc.jpg", "a\\my abc"])
def test_folders_and_suffixes_of_names_do_not_count(name, caplog):
    data = photos([1, 1, 3], names=["ab.jpg", "sub/my abc.jpg", "b.jpg"])

    with caplog.at_level("INFO"):
        assert without_models_of(data, np.array([name, "unknown"])).clusters.tolist() == [3]

    assert "toy: 1 of 2 names match photos; excluded are 2 photos of 1 clusters" in caplog.text


def test_names_that_are_of_no_photo_are_refused():
    with pytest.raises(ValueError, match="none of its 2 photos has one of the names.*Received: 2 names, such as x, y"):
        without_models_of(photos([1, 2]), np.array(["x", "y"]))


@pytest.mark.parametrize("dtype", [np.str_, object, np.dtypes.StringDType()])
def test_names_may_be_any_array_of_text(dtype):
    assert without_models_of(photos([1, 2]), np.array(["0.jpg"], dtype)).clusters.tolist() == [2]


def test_something_must_remain():
    with pytest.raises(ValueError, match="`images` must leave a 3D model.*all 2 clusters.*Received: 2 images"):
        without_models_of(photos([1, 2, 2]), np.array(["0.jpg", "2.jpg"]))
