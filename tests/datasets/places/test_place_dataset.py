import dataclasses
import logging

import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets import ImageSet, PlaceDataset


def image_set(count, dimensions=2, prefix="image"):
    return ImageSet(
        [f"{prefix}{i}.jpg" for i in range(count)], np.arange(count * dimensions).reshape(count, dimensions)
    )


def write_images(folder, count, red=0):
    paths = [str(folder / f"{i}.jpg") for i in range(count)]
    for shade, path in enumerate(paths):
        Image.new("RGB", (8, 6), (red, 10 * shade, 10 * shade)).save(path)
    return paths


def dataset_of_files(tmp_path, database, queries):
    sides = []
    for name, count, red in (("database", database, 0), ("queries", queries, 200)):
        (tmp_path / name).mkdir()
        sides.append(ImageSet(write_images(tmp_path / name, count, red), np.zeros((count, 2))))
    return PlaceDataset("tiny", *sides)


def test_an_image_set_holds_compact_arrays():
    images = image_set(3)
    assert len(images) == 3
    assert images.paths.dtype == np.dtypes.StringDType()
    assert images.positions.dtype == np.float64


def test_an_image_set_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        image_set(1).paths = None


def test_a_subset_keeps_every_array_in_the_order_asked():
    images = ImageSet(
        ["a", "b", "c"],
        [[0, 0], [1, 1], [2, 2]],
        timestamps=np.array([10, 11, 12]),
        places=np.array(["x", "y", "z"]),
        coordinates=np.array([[50.0, 8], [51, 9], [52, 10]]),
    )
    kept = images.subset(np.array([2, 0]))
    assert kept.paths.tolist() == ["c", "a"]
    assert kept.positions.tolist() == [[2, 2], [0, 0]]
    assert kept.timestamps.tolist() == [12, 10]
    assert kept.places.tolist() == ["z", "x"]
    assert kept.traversals is None
    assert kept.coordinates.tolist() == [[52, 10], [50, 8]]


@pytest.mark.parametrize("name", ["headings", "frames"])
def test_headings_and_frames_are_numbers_or_unknown(name):
    assert getattr(ImageSet(["a", "b"], [[0, 0], [1, 1]], **{name: [1, np.nan]}), name).dtype == np.float64
    with pytest.raises(ValueError, match=rf"`{name}` must be \[1\] numbers, .*1 infinite"):
        ImageSet(["a"], [[0, 0]], **{name: [np.inf]})
    with pytest.raises(ValueError, match=rf"`{name}` must hold one entry for each of the 1"):
        ImageSet(["a"], [[0, 0]], **{name: [1.0, 2.0]})


def test_paths_are_the_databases_and_then_the_queries():
    dataset = PlaceDataset("tiny", image_set(2, prefix="database"), image_set(3, prefix="query"))
    assert dataset.paths.tolist() == ["database0.jpg", "database1.jpg", "query0.jpg", "query1.jpg", "query2.jpg"]


def test_positives_are_database_images_within_the_radius():
    database = ImageSet(["a", "b", "c"], [[0, 0], [8, 0], [30, 0]])
    dataset = PlaceDataset("line", database, ImageSet(["q", "r"], [[0, 0.5], [90, 0]]))
    assert [row.tolist() for row in dataset.positives(10)] == [[0, 1], []]
    assert [row.tolist() for row in dataset.positives(10, exclude_within=1)] == [[1], []]


def places_only(database, queries):
    sides = [
        ImageSet([f"{name}{i}" for i in range(len(places))], places=np.array(places))
        for name, places in (("d", database), ("q", queries))
    ]
    return PlaceDataset("rooms", *sides)


def test_without_positions_images_of_the_same_place_are_positives():
    dataset = places_only(["hall", "stairs", "hall"], ["hall", "roof", "stairs"])
    assert [row.tolist() for row in dataset.positives(25)] == [[0, 2], [], [1]]
    assert dataset.protocol(25) == "recall@N at the same place"
    assert dataset.distance(0, 1) is None


def test_images_without_position_and_place_are_refused():
    with pytest.raises(ValueError, match="`positions` or `places` must say where the images are. Received: neither"):
        ImageSet(["a"])
    with pytest.raises(ValueError, match=r"`places` must name the place of every image .* places\[1\]='' of b"):
        ImageSet(["a", "b"], places=np.array(["hall", ""]))


def test_sides_of_which_one_has_no_positions_are_refused():
    rooms = places_only(["hall"], ["hall"])
    with pytest.raises(ValueError, match="Received: database=places only, queries=planar metres"):
        PlaceDataset("mixed", rooms.database, image_set(1))


def test_distances_between_the_sides_are_metres():
    assert PlaceDataset("line", image_set(3), ImageSet(["q"], [[0, 5]])).distance(0, 1) == pytest.approx(8**0.5)


def timed(database, queries, positions=None):
    sides = [
        ImageSet([f"{name}{i}" for i in range(len(times))], np.zeros((len(times), 2)), timestamps=np.array(times))
        for name, times in (("d", database), ("q", queries))
    ]
    return PlaceDataset("street", *sides, other_timestamps=True)


@pytest.mark.parametrize("kind", [int, str])
def test_positives_have_another_timestamp_where_that_is_the_datasets_rule(kind):
    dataset = timed(list(map(kind, (201301, 201507, 201301))), list(map(kind, (201301, 201507, 201609))))
    assert [row.tolist() for row in dataset.positives(25)] == [[1], [0, 2], [0, 1, 2]]
    assert dataset.nearby(25).counts.tolist() == [3, 3, 3]  # none of them is a negative
    assert dataset.protocol(25) == "recall@N within 25 m, of another timestamp"
    without = dataclasses.replace(dataset, other_timestamps=False)
    assert without.positives(25).counts.tolist() == [3, 3, 3]
    assert [row.tolist() for row in dataset.own_timestamps()] == [[0, 2], [1], []]
    assert without.own_timestamps() is None


@pytest.mark.parametrize(("queries", "received"), [([1], "queries=numbers"), (None, "queries=none")])
def test_timestamps_that_cannot_be_compared_are_refused(queries, received):
    database = ImageSet(["d"], np.zeros((1, 2)), timestamps=np.array(["1"]))
    asked = ImageSet(["q"], np.zeros((1, 2)), timestamps=None if queries is None else np.array(queries))
    with pytest.raises(ValueError, match=f"timestamps of both sides of 'street'.*database=text, {received}"):
        PlaceDataset("street", database, asked, other_timestamps=True)


def test_rules_stay_when_images_are_left_out(tmp_path):
    dataset = dataset_of_files(tmp_path, database=3, queries=2)
    assert dataclasses.replace(dataset, min_positive=1.0).check_images().min_positive == 1


def test_checking_whole_images_keeps_all_and_says_nothing(tmp_path, caplog):
    dataset = dataset_of_files(tmp_path, database=3, queries=2)
    checked = dataset.check_images()
    assert checked.database.paths.tolist() == dataset.database.paths.tolist()
    assert checked.queries.paths.tolist() == dataset.queries.paths.tolist()
    assert caplog.records == []


def test_corrupt_images_are_left_out_named_and_counted(tmp_path, caplog):
    dataset = dataset_of_files(tmp_path, database=10, queries=4)
    (tmp_path / "database/3.jpg").write_bytes((tmp_path / "database/3.jpg").read_bytes()[:100])
    (tmp_path / "queries/1.jpg").unlink()
    with caplog.at_level(logging.WARNING):
        checked = dataset.check_images(max_corrupt_share=0.25)
    assert len(checked.database) == 9
    assert f"{tmp_path}/database/3.jpg" not in checked.database.paths
    assert checked.queries.paths.tolist() == [f"{tmp_path}/queries/{i}.jpg" for i in (0, 2, 3)]
    assert [record.getMessage() for record in caplog.records] == [
        f"tiny, database: {tmp_path}/database/3.jpg: truncated or damaged",
        "tiny, database: 1 of 10 images cannot be read",
        f"tiny, queries: {tmp_path}/queries/1.jpg: missing",
        "tiny, queries: 1 of 4 images cannot be read",
    ]


def test_at_most_twenty_corrupt_images_are_named(tmp_path, caplog):
    one, other = write_images(tmp_path, 2)
    paths = [one, *(f"{tmp_path}/missing{i}.jpg" for i in range(30))]
    images = ImageSet(paths, np.zeros((31, 2)))
    checked = PlaceDataset("tiny", images, ImageSet([other], np.zeros((1, 2)))).check_images(max_corrupt_share=1.0)
    assert checked.database.paths.tolist() == paths[:1]
    assert len(caplog.records) == 21
    assert caplog.records[-1].getMessage() == "tiny, database: 30 of 31 images cannot be read"


def test_more_corrupt_images_than_allowed_are_an_error(tmp_path):
    dataset = dataset_of_files(tmp_path, database=10, queries=4)
    for i in (2, 3):
        (tmp_path / f"database/{i}.jpg").unlink()
    with pytest.raises(
        ValueError,
        match=r"2 of the 10 `database` images .*`max_corrupt_share`.*max_corrupt_share=0.1, .*2.jpg: missing",
    ):
        dataset.check_images(max_corrupt_share=0.1)


def test_a_side_with_no_readable_image_is_an_error_whatever_is_allowed(tmp_path):
    dataset = dataset_of_files(tmp_path, database=2, queries=1)
    (tmp_path / "queries/0.jpg").unlink()
    with pytest.raises(ValueError, match="1 of the 1 `queries` images of 'tiny' cannot be read, at most 0"):
        dataset.check_images(max_corrupt_share=1.0)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_outside_zero_to_one_is_refused(share):
    with pytest.raises(ValueError, match=r"`max_corrupt_share` must be in \[0, 1\]. Received: max_corrupt_share="):
        PlaceDataset("tiny", image_set(1), image_set(1)).check_images(share)


@pytest.mark.parametrize(("database", "queries", "role"), [(0, 1, "database"), (1, 0, "queries")])
def test_an_empty_side_is_refused(database, queries, role):
    with pytest.raises(ValueError, match=rf"`{role}` must hold at least one image: dataset 'tiny' .*len\({role}\)=0"):
        PlaceDataset("tiny", image_set(database), image_set(queries))


def test_sides_in_different_coordinate_systems_are_refused():
    with pytest.raises(ValueError, match="Received: database=planar metres, queries=earth-centred metres"):
        PlaceDataset("tiny", image_set(2, dimensions=2), image_set(2, dimensions=3))


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 4)])
def test_positions_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"`positions` must be \[N, 2\] planar metres or \[N, 3\] .*positions.shape="):
        ImageSet(["a", "b", "c"], np.zeros(shape))


@pytest.mark.parametrize("name", ["positions", "timestamps", "places", "traversals", "coordinates"])
def test_arrays_of_unequal_length_are_refused(name):
    arrays = {"positions": np.zeros((2, 2))} | {name: np.zeros((3, 2))}
    with pytest.raises(
        ValueError, match=rf"`{name}` must hold one entry for each of the 2 `paths`. Received: len\({name}\)=3"
    ):
        ImageSet(["a", "b"], **arrays)


def test_a_position_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match=r"`positions` must be finite; 1 are not.*positions\[1\]=\[nan  0.\] of b"):
        ImageSet(["a", "b"], [[0, 0], [np.nan, 0]])
