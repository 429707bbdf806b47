import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets.sfm.sfm_dataset import SfMDataset

OBSERVED = ([2, 5, 9], [], [5, 9, 11], [30], [2, 11])


def toy(**changes):
    """Images 0, 1, 2 and 4 of model 3, image 3 of model 8."""
    points = np.concatenate(OBSERVED)
    given = {
        "name": "toy",
        "paths": np.array([f"/photos/{i}.jpg" for i in range(5)]),
        "models": [3, 3, 3, 8, 3],
        "clusters": [1, 1, 1, 2, 1],
        "centres": np.arange(15).reshape(5, 3),
        "point_starts": np.cumsum([0, *map(len, OBSERVED)]),
        "points": points,
        "scales": points / 2,
        "pairs": [[0, 2], [2, 4], [4, 0]],
    }
    return SfMDataset(**given | changes)


def without_points(**changes):
    return toy(**{"point_starts": None, "points": None, "scales": None} | changes)


def assert_same(one, other):
    assert one.name == other.name
    assert one.paths.tolist() == other.paths.tolist()
    for field in ("models", "clusters", "centres", "point_starts", "points", "scales", "pairs"):
        a = getattr(one, field)
        b = getattr(other, field)
        assert (a is None) == (b is None), field
        if a is not None:
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


def test_arrays_have_the_documented_dtypes():
    data = toy()

    assert len(data) == 5
    assert isinstance(data.paths.dtype, np.dtypes.StringDType)
    assert {getattr(data, name).dtype for name in ("models", "clusters", "point_starts", "points", "pairs")} == {
        np.dtype(np.int64)
    }
    assert (data.centres.dtype, data.scales.dtype) == (np.float64, np.float32)


def test_points_of_an_image_are_its_own():
    assert [toy().points_of(i).tolist() for i in range(5)] == [list(points) for points in OBSERVED]


def test_a_subset_takes_observations_along_and_renumbers_pairs():
    part = toy().subset(np.array([4, 2, 3]), "part")

    assert part.name == "part"
    assert part.paths.tolist() == ["/photos/4.jpg", "/photos/2.jpg", "/photos/3.jpg"]
    assert part.models.tolist() == [3, 3, 8]
    assert part.clusters.tolist() == [1, 1, 2]
    assert part.centres.tolist() == [[12, 13, 14], [6, 7, 8], [9, 10, 11]]
    assert [part.points_of(i).tolist() for i in range(3)] == [[2, 11], [5, 9, 11], [30]]
    assert part.scales.tolist() == [1, 5.5, 2.5, 4.5, 5.5, 15]
    assert part.pairs.tolist() == [[1, 0]]


def test_a_subset_of_all_is_the_dataset_and_one_of_none_is_empty():
    data = toy()

    assert_same(data.subset(np.arange(5)), data)
    empty = data.subset(np.array([], np.int64))
    assert len(empty) == 0
    assert empty.point_starts.tolist() == [0]
    assert empty.pairs.shape == (0, 2)


def test_a_subset_of_bare_photos_stays_bare():
    part = without_points(centres=None, pairs=None).subset(np.array([1]))

    assert (part.centres, part.points, part.pairs) == (None, None, None)


@pytest.mark.parametrize("data", [toy(), without_points(), without_points(centres=None, pairs=None)])
@pytest.mark.parametrize("name", ["sfm.npz", "photos.sfm"])
def test_a_saved_dataset_comes_back_as_it_was(tmp_path, data, name):
    data.save(tmp_path / "new" / name)

    assert_same(SfMDataset.load(tmp_path / "new" / name), data)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_photos_below_the_file_move_with_it(tmp_path):
    outside = str(tmp_path / "elsewhere" / "c.jpg")
    paths = [str(tmp_path / "run" / "photos" / "ä b.jpg"), str(tmp_path / "run" / "b.jpg"), outside]
    SfMDataset("toy", np.array(paths), [1, 1, 2], [1, 1, 2]).save(tmp_path / "run" / "sfm.npz")

    shutil.move(tmp_path / "run", tmp_path / "moved")
    loaded = SfMDataset.load(tmp_path / "moved" / "sfm.npz")

    moved = tmp_path / "moved"
    assert loaded.paths.tolist() == [str(moved / "photos" / "ä b.jpg"), str(moved / "b.jpg"), outside]


def test_unreadable_photos_are_left_out_and_named(tmp_path, caplog):
    for name in "abc":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    paths = np.array([str(tmp_path / f"{name}.png") for name in "abc"])
    data = SfMDataset("toy", paths, [1, 1, 1], [1, 1, 1], pairs=[[0, 1], [0, 2]])

    with caplog.at_level(logging.WARNING):
        kept = data.check_images(max_corrupt_share=0.5)

    assert kept.paths.tolist() == paths[[0, 2]].tolist()
    assert kept.pairs.tolist() == [[0, 1]]
    assert "b.png" in caplog.text
    assert kept.check_images(0) is kept
    with pytest.raises(ValueError, match="1 of the 3 `photos` images of 'toy' cannot be read"):
        data.check_images()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": [3, 3]}, r"`models` must have the shape \(5,\).*models.shape=\(2,\)"),
        ({"clusters": [1] * 6}, r"`clusters` must have the shape \(5,\)"),
        ({"centres": np.zeros((5, 2))}, r"`centres` must have the shape \(5, 3\)"),
        ({"point_starts": [0, 9]}, r"`point_starts` must have the shape \(6,\)"),
        ({"clusters": [1, 1, 2, 2, 1]}, "`clusters` must hold each 3D model in one cluster.*Received: model 3"),
        ({"scales": None}, "`point_starts`, `points` and `scales` must be given together"),
        ({"scales": np.ones(3)}, "`point_starts` must rise from 0.*9 points, 3 scales"),
        ({"point_starts": [1, 3, 3, 6, 7, 9]}, "`point_starts` must rise from 0.*Received: from 1 to 9"),
        ({"point_starts": [0, 3, 2, 6, 7, 9]}, "`point_starts` must rise from 0"),
        ({"point_starts": [0, 3, 3, 6, 7, 8]}, "`point_starts` must rise from 0.*Received: from 0 to 8, 9 points"),
        ({"points": [2, 9, 5, 5, 9, 11, 30, 2, 11]}, r"`points` of an image must be ascending.*points\[2\]"),
        (
            {"points": [2, 5, 9, 5, 9, 11, 30, 11, 11]},
            r"`points` of an image.*each once.*points\[8\]",
        ),
        ({"pairs": [[0, 5]]}, r"`pairs` must be \[P, 2\] numbers of images from 0 to 4"),
        ({"pairs": [[-1, 0]]}, r"`pairs` must be \[P, 2\]"),
        ({"pairs": [0, 1]}, r"`pairs` must be \[P, 2\].*pairs.shape=\(2,\)"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        toy(**changes)


def test_points_are_asked_for_where_there_are_none():
    with pytest.raises(ValueError, match="`points` must be known for this. Received: 'toy' without points"):
        without_points().points_of(0)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut short", None])
def test_other_files_are_refused_by_name(tmp_path, content):
    if content is not None:
        (tmp_path / "sfm.npz").write_bytes(content)

    with pytest.raises(ValueError, match="`path` must be a file that `SfMDataset.save` wrote.*sfm.npz"):
        SfMDataset.load(tmp_path / "sfm.npz")


@pytest.mark.parametrize(
    "arrays",
    [
        {"a": np.zeros(3)},
        {"paths": np.array(["a"]), "name": "x", "models": [1], "clusters": [1], "more": [1]},
        {"paths": np.array(["a"]), "name": "x", "models": [1, 2], "clusters": [1]},
        {"paths": np.array([{}], object), "name": "x"},
    ],
)
def test_archives_of_other_arrays_are_refused(tmp_path, arrays):
    np.savez(tmp_path / "sfm.npz", **arrays)

    with pytest.raises(ValueError, match="`path` must be a file that `SfMDataset.save` wrote"):
        SfMDataset.load(tmp_path / "sfm.npz")
