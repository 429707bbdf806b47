import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets import ImageSet, PlaceDataset, read_dbstruct, training_positives

RADIUS = 10


def dataset(database, queries, **rules):
    """Positions along a line; the files are not there."""
    sides = [
        ImageSet([f"{name}{i}" for i in range(len(xs))], np.stack([xs, np.zeros(len(xs))], axis=1))
        for name, xs in (("d", np.array(database, float)), ("q", np.array(queries, float)))
    ]
    return PlaceDataset("street", *sides, **rules)


def rows(data, radius=RADIUS, min_positive=None, database_queries=False):
    ids = len(data.database) + np.arange(len(data.queries))
    ids = np.concatenate([ids, np.arange(len(data.database))]) if database_queries else ids
    return [row.tolist() for row in training_positives(data, ids, radius, min_positive)]


def test_images_at_one_position_are_positives_of_each_other():
    assert rows(dataset([0, 0, 8, 50], [0, 50])) == [[0, 1, 2], [3]]


def test_nearest_ones_are_left_out_by_the_datasets_rule_or_as_asked():
    panoramas = dataset([0, 0.5, 8, 50], [0, 50], min_positive=1.0)
    assert rows(panoramas) == [[2], []]
    assert rows(panoramas, min_positive=0) == [[0, 1, 2], [3]]
    assert rows(dataset([0, 0.5, 8, 50], [0, 50]), min_positive=0.25) == [[1, 2], []]


def test_photos_that_look_elsewhere_are_left_out_and_those_of_unknown_heading_kept():
    data = dataset([0, 0, 0, 0, 8, 50], [0, 50])
    headings = {"database": [350.0, 41.0, 180.0, np.nan, 30.0, 0.0], "queries": [10.0, 90.0]}
    sides = {side: dataclasses.replace(getattr(data, side), headings=np.array(h)) for side, h in headings.items()}
    looking = dataclasses.replace(data, **sides)
    ids = len(data.database) + np.arange(2)
    found = {turn: [row.tolist() for row in training_positives(looking, ids, RADIUS, 0, turn)] for turn in (20, 90)}
    assert found == {20: [[0, 3, 4], []], 90: [[0, 1, 3, 4], [5]]}
    assert rows(data) == [[0, 1, 2, 3, 4], [5]] == rows(looking)
    with pytest.raises(ValueError, match="of 1 database images within 10 m of one, 1 look more than 20 degrees else"):
        training_positives(looking, ids[1:], RADIUS, 0, 20)


def test_database_image_is_not_its_own_positive_but_its_twins_at_one_position_are():
    assert rows(dataset([0, 0, 50], [50]), database_queries=True) == [[2], [1], [0], []]


def test_without_positions_the_other_images_of_the_place_are_positives():
    places = [np.array(["hall", "hall", "stairs"]), np.array(["hall", "roof"])]
    sides = [ImageSet([f"{name}{i}" for i in range(len(p))], places=p) for name, p in zip("dq", places, strict=True)]
    assert rows(PlaceDataset("rooms", *sides), database_queries=True) == [[0, 1], [], [1], [0], []]


@pytest.fixture
def listed_on_both_sides(tmp_path):
    """Query 0 is database image 0 by its path, query 1 a copy of image 1; query 2 is a photo of its own."""
    for name, shade in (("a", 10), ("b", 60), ("c", 110)):
        Image.new("RGB", (8, 6), (shade, 0, 0)).save(tmp_path / f"{name}.png")
    shutil.copy(tmp_path / "b.png", tmp_path / "copy.png")
    names = [["a.png", "b.png"], ["a.png", "copy.png", "c.png"]]
    sides = [ImageSet([str(tmp_path / n) for n in side], np.zeros((len(side), 2))) for side in names]
    return PlaceDataset("photos", *sides)


def test_photo_on_both_sides_is_never_its_own_positive(listed_on_both_sides):
    assert rows(listed_on_both_sides) == [[1], [0], [0, 1]]
    assert rows(listed_on_both_sides, database_queries=True)[3:] == [[1], [0]]


def tokyo_like():
    """Places 50 m apart, each with database images of two dates and a query of one of them, 2 m off.

    Every third place has only the query's own date: nothing to train on.
    """
    database = []
    queries = []
    for place in range(30):
        dates = (200900 + place % 4, 200900 + place % 4) if place % 3 == 0 else (200900 + place % 4, 201500)
        database += [(50.0 * place + 3 * i, date) for i, date in enumerate(dates)]
        queries.append((50.0 * place - 2, dates[0]))
    sides = [
        ImageSet(
            [f"{name}{i}" for i in range(len(side))],
            np.array([(x, 0) for x, _ in side]),
            timestamps=np.array([date for _, date in side], float),
        )
        for name, side in (("d", database), ("q", queries))
    ]
    return PlaceDataset("tokyo", *sides, min_positive=1.0, other_timestamps=True)


def test_positives_of_the_queries_own_timestamp_are_not_trained_on():
    data = tokyo_like()
    found = rows(data, database_queries=True)
    assert [len(row) for row in found[:30]] == [0, 1, 1] * 10
    assert [len(row) for row in found[30:]] == [0, 0, 1, 1, 1, 1] * 10
    ids = np.concatenate([60 + np.arange(30), np.arange(60)])
    timestamps = data.images_of(ids).timestamps
    for own, row in zip(timestamps, found, strict=True):
        assert own not in data.database.timestamps[row]
    without = dataclasses.replace(data, other_timestamps=False)
    assert [len(row) for row in rows(without, database_queries=True)] == [2] * 30 + [1] * 60


def test_pitts30k_keeps_its_published_rule(real_data):
    data = read_dbstruct(real_data / "positions/pitts30k_test.mat", "/nowhere")
    ids = len(data.database) + np.arange(len(data.queries))
    found = training_positives(data, ids, RADIUS)
    published = data.nearby(RADIUS, 1.0)
    np.testing.assert_array_equal(found.indices, published.indices)
    np.testing.assert_array_equal(found.offsets, published.offsets)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (dataset([0, 0.5], [0], min_positive=1.0), "of 2 database images within 10 m of one, 2 are not farther than"),
        (
            dataset([0, 1], [4000]),
            "nearest database image is 3999 m away, and the radius is 10 m. Check that",
        ),
        (
            dataclasses.replace(tokyo_like(), queries=tokyo_like().queries.subset(np.array([0, 3]))),
            "of 4 database images within 10 m of one, 4 have the query's own timestamp$",
        ),
    ],
)
def test_where_no_query_has_a_positive_the_true_reason_is_given(data, reason):
    with pytest.raises(ValueError, match=f"a positive to train on; .* does not: .*{reason}"):
        rows(data)


def test_where_only_a_querys_own_photo_is_near_that_is_the_reason(listed_on_both_sides):
    alone = dataclasses.replace(
        listed_on_both_sides,
        database=listed_on_both_sides.database.subset(np.array([0])),
        queries=listed_on_both_sides.queries.subset(np.array([0])),
    )
    with pytest.raises(ValueError, match="of 1 database images within 10 m of one, 1 are the query's own photo$"):
        rows(alone)


def test_where_no_place_is_shared_that_is_the_reason():
    sides = [ImageSet([name], places=np.array([name])) for name in ("d", "q")]
    with pytest.raises(ValueError, match="no database image has the place of one; check the column `place`"):
        rows(PlaceDataset("rooms", *sides))
