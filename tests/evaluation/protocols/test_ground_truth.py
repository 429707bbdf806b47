"""What protocols make of data sets, against loops and known numbers."""

import dataclasses
import re

import numpy as np
import pytest

from keras_sare.datasets import ImageSet, PlaceDataset, open_dataset, read_dbstruct
from keras_sare.evaluation.protocols import NAMED, Protocol, counted, ground_truth, named_protocol
from keras_sare.utils.error_text import one_line


def rows(truth):
    return [row.tolist() for row in truth.positives]


def line(**columns):
    """Images along a line, given as (queries, database) by column."""
    sides = [
        ImageSet(
            [f"{i}.jpg" for i in range(len(columns["positions"][side]))], **{n: v[side] for n, v in columns.items()}
        )
        for side in (1, 0)
    ]
    return PlaceDataset("line", *sides)


def test_every_published_protocol_names_its_rules_and_whose_they_are():
    assert {"pitts30k", "pitts250k", "tokyo247", "tokyotm", "sf0", "msls", "nordland"} < NAMED.keys()
    assert {"svox", "st_lucia", "amstertime", "own"} < NAMED.keys()
    assert all(one.source and one.description for one in NAMED.values())
    of_tokyo = [one.description for name, one in NAMED.items() if name.startswith("tokyo247")]
    assert len(of_tokyo) == len(set(of_tokyo)) == 6
    assert named_protocol("msls").description == "within 25 m and 40 degrees of heading"


def test_unknown_protocol_is_told_the_known_ones_with_their_rules():
    with pytest.raises(
        ValueError, match=r"`protocol` must be one of these.*nordland: within 10 frames; .*'pits'"
    ) as no:
        named_protocol("pits")
    told = one_line(no.value)  # As a program tells it, which cuts long texts.
    assert all(re.search(rf"\b{name}\b", told) for name in NAMED)
    assert told.endswith("Received: protocol='pits'")


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({}, "`radius`, `frames` or `places` must say what is right"),
        ({"radius": 0.0}, "`radius` must be metres above 0. Received: radius=0"),
        ({"radius": float("nan")}, "`radius` must be metres above 0"),
        ({"frames": -1}, "`frames` must be at least 0. Received: frames=-1"),
        ({"radius": 5.0, "heading": -2.0}, "`heading` must be at least 0"),
        (
            {"places": True, "exclude": ("time",)},
            "`exclude` must be of timestamp, photo, traversal. Received: exclude=t",
        ),
    ],
)
def test_rules_that_mean_nothing_are_refused(rules, message):
    with pytest.raises(ValueError, match=message):
        Protocol(name="mine", source="me", **rules)


def test_headings_differ_across_north_too():
    dataset = line(positions=([[0, 0]], [[1, 0], [2, 0], [3, 0], [30, 0]]), headings=([350], [30, 31, 310, 350]))
    truth = ground_truth(named_protocol("msls"), dataset)
    assert rows(truth) == [[0, 2]]
    assert truth.protocol == "msls: recall@N within 25 m and 40 degrees of heading"


def test_msls_on_real_photos_is_radius_and_heading(real_data):
    dataset = open_dataset(real_data / "msls_london", "test")
    found = ground_truth(named_protocol("msls"), dataset).positives
    within = ground_truth(named_protocol("msls_radius"), dataset).positives
    turned = np.abs(dataset.queries.headings[:, None] - dataset.database.headings)
    near = np.linalg.norm(dataset.queries.positions[:, None] - dataset.database.positions, axis=2) <= 25
    np.testing.assert_array_equal(within.counts, near.sum(1))
    np.testing.assert_array_equal(found.counts, (near & (np.minimum(turned, 360 - turned) <= 40)).sum(1))
    assert 0 < found.counts.sum() < within.counts.sum()


def test_queries_without_a_positive_are_left_out_where_the_published_code_does():
    dataset = line(positions=([[0, 0], [900, 0], [9, 0]], [[1, 0]]))
    kept = counted(named_protocol("msls_sls"), dataset)
    assert kept.queries.paths.tolist() == ["0.jpg", "2.jpg"]
    assert len(counted(named_protocol("msls_radius"), dataset).queries) == 3
    assert "queries without a positive left out" in ground_truth(named_protocol("msls_sls"), kept).protocol


@pytest.mark.parametrize(("name", "expected"), [("nordland", [[0, 1], [2]]), ("nordland_1", [[1], []])])
def test_frames_are_right_within_a_tolerance(name, expected):
    columns = {"positions": ([[0, 0]] * 2, [[0, 0]] * 3), "frames": ([20, 100], [10, 21, 110])}
    assert rows(ground_truth(named_protocol(name), line(**columns))) == expected


def test_frames_stand_in_coded_names_too():
    def side(numbers):
        return ImageSet([f"db/@0@1@@@@@{n}@@@@@@@@.jpg" for n in numbers], np.zeros((len(numbers), 2)))

    dataset = PlaceDataset("nordland", side(["00010", "00031"]), side(["00020"]))
    assert rows(ground_truth(named_protocol("nordland"), dataset)) == [[0]]


def test_pairs_are_images_of_one_place_with_or_without_positions():
    sides = [ImageSet(paths, places=np.array(names)) for paths, names in ((["a", "b"], ["1", "2"]), (["q"], ["2"]))]
    truth = ground_truth(named_protocol("amstertime"), PlaceDataset("pairs", *sides))
    assert (rows(truth), truth.protocol) == ([[1]], "amstertime: recall@N at the same place")
    with_positions = [dataclasses.replace(side, positions=np.zeros((len(side), 2))) for side in sides]
    assert rows(ground_truth(named_protocol("amstertime"), PlaceDataset("pairs", *with_positions))) == [[1]]


def test_own_rules_take_the_place_where_there_are_no_positions_and_combine():
    sides = [ImageSet(paths, places=np.array(names)) for paths, names in ((["a", "b"], ["1", "2"]), (["q"], ["2"]))]
    truth = ground_truth(named_protocol("own"), PlaceDataset("rooms", *sides))
    assert (rows(truth), truth.protocol) == ([[1]], "recall@N at the same place")
    strict = named_protocol("own").changed(radius=5.0, places=True, exclude=("timestamp", "traversal"))
    dataset = line(
        positions=([[0, 0]], [[1, 0], [2, 0], [9, 0]]),
        places=(np.array(["x"]), np.array(["x", "y", "x"])),
        timestamps=(np.array([1]), np.array([1, 2, 2])),
        traversals=(np.array(["a"]), np.array(["b", "a", "b"])),
    )
    truth = ground_truth(strict, dataset)
    assert rows(truth) == [[0]]
    assert [row.tolist() for row in truth.exclude] == [[0, 1]]
    assert truth.protocol == (
        "recall@N within 5 m, at the same place, excluding the query's own timestamp, "
        "excluding the query's own traversal"
    )


@pytest.mark.parametrize(
    ("protocol", "column"),
    [
        ("msls", "heading"),
        ("nordland", "frame"),
        ("amstertime", "place"),
        ("tokyotm", "timestamp"),
        ("tokyo247", "names of cut-outs"),
    ],
)
def test_column_that_a_protocol_lacks_is_named(protocol, column):
    with pytest.raises(ValueError, match=rf"Protocol '{protocol}' .* needs for every image of 'line': {column}"):
        ground_truth(named_protocol(protocol), line(positions=([[0, 0]], [[1, 0]])))


def test_number_that_some_images_lack_is_a_column_that_is_missing():
    with pytest.raises(ValueError, match="needs for every image of 'line': heading"):
        ground_truth(named_protocol("msls"), line(positions=([[0, 0]], [[1, 0]]), headings=([3], [np.nan])))
    places = [ImageSet([name], places=np.array(["x"])) for name in "aq"]
    with pytest.raises(ValueError, match="'rooms': easting and northing"):
        ground_truth(named_protocol("pitts30k"), PlaceDataset("rooms", *places))


def test_positives_of_pittsburgh_are_those_that_are_known(real_data):
    dataset = read_dbstruct(real_data / "positions" / "pitts30k_test.mat", "/nowhere")
    counts = ground_truth(named_protocol("pitts30k"), dataset).positives.counts
    assert (len(dataset.queries), len(dataset.database)) == (6816, 10000)
    assert counts.min() >= 1
    assert round(counts.mean(), 2) == 142.08


def test_panoramas_and_times_of_day_of_tokyo_are_in_the_names(real_data):
    dataset = read_dbstruct(real_data / "positions" / "tokyo247.mat", "/nowhere")
    truth = ground_truth(named_protocol("tokyo247"), dataset)
    assert (len(dataset.queries), len(dataset.database)) == (315, 75984)
    # NetVLAD's code takes each twelve of the list.
    numbers = np.unique(truth.groups, return_index=True)[1]
    np.testing.assert_array_equal(truth.groups, truth.groups[12 * (np.arange(75984) // 12)])
    assert len(numbers) == 75984 // 12
    assert {name: queries[:2].tolist() for name, queries in truth.conditions.items()} == {
        "day": [0, 3],
        "sunset": [1, 4],
        "night": [2, 5],
    }
    assert sum(map(len, truth.conditions.values())) == 315
    lost = dataclasses.replace(dataset, database=dataset.database.subset(np.arange(5, 75984)))
    np.testing.assert_array_equal(np.bincount(ground_truth(named_protocol("tokyo247"), lost).groups).max(), 12)
