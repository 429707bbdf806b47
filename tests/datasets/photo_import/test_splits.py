import numpy as np
import pytest
from scipy.spatial import cKDTree

from keras_sare.datasets.photo_import.photo_list import PhotoList
from keras_sare.datasets.photo_import.splits import NO_SPLIT, TEST, TRAIN, VAL, held_out, split_places, split_positions

RNG = np.random.default_rng(0)
TOWN = np.concatenate([RNG.normal((x, y), 60, (100, 2)) for x, y in [(0, 0), (700, 100), (200, 900), (800, 800)]])
LINE = np.stack([np.arange(0, 2000, 5.0), np.zeros(400)], axis=1)
SPHERE = np.pad(TOWN, ((0, 0), (0, 1))) @ np.linalg.qr(RNG.normal(size=(3, 3)))[0] + 4e6


def apart(positions, splits):
    """The least distance of photos of different splits."""
    distances = []
    for split in (TRAIN, VAL, TEST):
        own = positions[splits == split]
        others = positions[(splits != split) & (splits != NO_SPLIT)]
        distances.append(cKDTree(own).query(others)[0].min())
    return min(distances)


@pytest.mark.parametrize("positions", [TOWN, LINE, SPHERE], ids=["town", "line", "sphere"])
def test_splits_lie_apart_and_have_about_their_shares(positions):
    splits = split_positions(positions, 0.2, 0.15, 50.0)
    assert apart(positions, splits) > 50
    shares = [(splits == split).mean() for split in (TRAIN, VAL, TEST)]
    assert shares == pytest.approx([0.6, 0.15, 0.2], abs=0.11)
    assert (splits == NO_SPLIT).sum() <= 2 * 50 / 5 + 2


def test_a_cut_is_where_there_are_no_photos():
    splits = split_positions(TOWN, 0.25, 0.25, 150.0)
    assert (splits == NO_SPLIT).sum() <= 2
    clusters = [set(splits[start : start + 100].tolist()) - {NO_SPLIT} for start in range(0, 400, 100)]
    assert sorted(map(list, clusters)) == [[TRAIN], [TRAIN], [VAL], [TEST]]


def test_photos_near_those_held_out_join_the_test_and_those_near_them_no_split():
    test = (LINE[:, 0] >= 1000) & (LINE[:, 0] < 1200)
    splits = split_positions(LINE, test, 0.2, 50.0)
    assert LINE[splits == TEST, 0].tolist() == list(np.arange(950, 1250, 5.0))
    assert apart(LINE, splits) > 50
    assert (splits == VAL).mean() == pytest.approx(0.2, abs=0.06)


@pytest.mark.parametrize(("test", "val", "expected"), [(1.0, 0.15, {TEST}), (0.2, 0.0, {TRAIN, TEST, NO_SPLIT})])
def test_splits_may_be_left_out(test, val, expected):
    assert set(split_positions(LINE, test, val, 50.0).tolist()) == expected


def test_a_place_is_of_one_split():
    places = np.repeat(np.array([f"p{i}" for i in range(40)], np.dtypes.StringDType()), 5)
    splits = split_places(places, 0.2, 0.15)
    assert [len(set(splits[places == place].tolist())) for place in set(places.tolist())] == [1] * 40
    assert [(splits == split).mean() for split in (TRAIN, VAL, TEST)] == pytest.approx([0.65, 0.15, 0.2], abs=0.03)
    chosen = split_places(places, places == "p7", 0.15)
    assert set(places[chosen == TEST].tolist()) == {"p7"}


@pytest.fixture
def photos():
    names = ["north/a.jpg", "south/b.jpg", "south/sub/c.jpg", "d.jpg"]
    return PhotoList.of(
        np.array(names, np.dtypes.StringDType()),
        latitudes=np.array([2.0, -2, -3, -2]),
        longitudes=np.array([179.5, -179.5, 0, -179.4]),
    )


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["south"], [1, 2]),
        (["south/sub/"], [2]),
        (["sou"], None),
        (["north", "walk 3"], [0, 3]),
        (["-2.5", "179", "2.5", "-179.45"], [0, 1]),
        (["5", "0", "6", "1"], None),
        (["north", "5"], None),
    ],
)
def test_folders_walks_and_boxes_are_held_out(photos, wanted, found):
    traversals = np.array(["north", "walk 1", "walk 1", "walk 3"], np.dtypes.StringDType())
    if found is None:
        with pytest.raises(ValueError, match="`hold_out` must be .* with photos that can be used. Received: "):
            held_out(photos, traversals, wanted)
    else:
        assert np.flatnonzero(held_out(photos, traversals, wanted)).tolist() == found


@pytest.mark.parametrize("share", ["0", "1.5", "nan", "-0.1"])
def test_a_share_is_between_0_and_1(photos, share):
    assert held_out(photos, photos.names, ["0.25"]) == 0.25
    with pytest.raises(ValueError, match="`hold_out` must be a share above 0, at most 1"):
        held_out(photos, photos.names, [share])
