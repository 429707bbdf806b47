import logging

import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets.landmarks.landmark_dataset import PROTOCOLS, LandmarkDataset

REVISITED = ({"easy": [3, 1], "hard": [0], "junk": [4]}, {"easy": [], "hard": [2], "junk": []})


def dataset(labels=REVISITED, boxes=None, database="abcde", queries="xy", name="toy"):
    return LandmarkDataset(name, np.array(list(database)), np.array(list(queries)), boxes, tuple(labels))


def as_lists(arrays):
    return [array.tolist() for array in arrays]


def test_paths_are_variable_width_text_and_labels_sorted_integers():
    toy = dataset()

    assert isinstance(toy.database.dtype, np.dtypes.StringDType)
    assert isinstance(toy.queries.dtype, np.dtypes.StringDType)
    assert toy.labels[0]["easy"].tolist() == [1, 3]
    assert all(indices.dtype == np.int64 for each in toy.labels for indices in each.values())


@pytest.mark.parametrize(
    ("protocol", "positives", "ignored"),
    [
        ("easy", [[1, 3], []], [[0, 4], [2]]),
        ("medium", [[0, 1, 3], [2]], [[4], []]),
        ("hard", [[0], [2]], [[1, 3, 4], []]),
    ],
)
def test_each_revisited_protocol_has_its_positives_and_ignored(protocol, positives, ignored):
    found = dataset().relevant(protocol)

    assert as_lists(found[0]) == positives
    assert as_lists(found[1]) == ignored
    assert all(each.dtype == np.int64 for side in found for each in side)


def test_the_classic_protocol_asks_for_ok_and_ignores_junk():
    found = dataset([{"ok": [2, 0], "junk": [1]}, {"ok": [4]}]).relevant("classic")

    assert (as_lists(found[0]), as_lists(found[1])) == ([[0, 2], [4]], [[1], []])


@pytest.mark.parametrize(
    ("labels", "protocols"),
    [
        (REVISITED, ("easy", "medium", "hard")),
        (({"ok": [1]}, {"ok": []}), ("classic",)),
        (({"ok": [1], "easy": [1], "hard": []}, {"ok": [0], "easy": [0], "hard": []}), ("classic", "easy", "medium")),
        (({"ok": [1]}, {"easy": [0], "hard": []}), ()),
        (({"ok": []}, {"ok": []}), ()),
    ],
)
def test_protocols_are_those_with_labels_and_something_to_find(labels, protocols):
    assert dataset(labels).protocols == protocols
    assert set(protocols) <= set(PROTOCOLS)


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match=r"`protocol` must be one of .*Received: protocol='extreme'"):
        dataset().relevant("extreme")


def test_distractors_follow_the_database_and_change_no_label():
    larger = dataset().with_distractors(["d1", "d2"])

    assert larger.database.tolist() == ["a", "b", "c", "d", "e", "d1", "d2"]
    assert larger.name == "toy+2"
    assert as_lists(larger.relevant("medium")[0]) == as_lists(dataset().relevant("medium")[0])
    assert dataset().with_distractors(["d1"], name="toy1").name == "toy1"


@pytest.fixture
def photos(tmp_path):
    """Eight files: 2 and 6 are no images, 7 is missing."""
    for index in range(7):
        if index in (2, 6):
            (tmp_path / f"{index}.jpg").write_bytes(b"no image")
        else:
            Image.fromarray(np.full((4, 5, 3), 30 * index, np.uint8)).save(tmp_path / f"{index}.jpg")
    return np.array([str(tmp_path / f"{index}.jpg") for index in range(8)])


def test_images_that_cannot_be_read_are_left_out_and_labels_follow(photos, caplog):
    labels = ({"ok": [0, 2, 4], "junk": [3]}, {"ok": [1]}, {"ok": [2, 3], "junk": [0]})
    boxes = np.array([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]])
    toy = LandmarkDataset("toy", photos[:5], photos[[0, 6, 3]], boxes, labels)

    with caplog.at_level(logging.WARNING):
        kept = toy.check_images(max_corrupt_share=0.4)

    assert kept.database.tolist() == photos[[0, 1, 3, 4]].tolist()
    assert kept.queries.tolist() == photos[[0, 3]].tolist()
    assert kept.boxes.tolist() == boxes[[0, 2]].tolist()
    assert [{name: rows.tolist() for name, rows in each.items()} for each in kept.labels] == [
        {"ok": [0, 3], "junk": [2]},
        {"ok": [2], "junk": [0]},
    ]
    assert "toy, database: 1 of 5 images cannot be read" in caplog.text
    assert "6.jpg: not a JPEG, PNG, GIF or WebP image" in caplog.text


def test_a_dataset_whose_images_are_good_stays_as_it_is(photos):
    toy = LandmarkDataset("toy", photos[:2], photos[[3]], None, ({"ok": [1], "junk": [0]},))

    kept = toy.check_images()

    assert (kept.database == toy.database).all()
    assert kept.boxes is None
    assert as_lists(kept.labels[0].values()) == [[1], [0]]


def test_too_many_corrupt_images_are_an_error_that_names_the_first(photos):
    toy = LandmarkDataset("toy", photos[:5], photos[[0]], None, ({"ok": [1]},))

    with pytest.raises(ValueError, match=r"1 of the 5 `database` images of 'toy' cannot be read.*2\.jpg"):
        toy.check_images()


def test_a_missing_query_is_an_error_that_says_so(photos):
    toy = LandmarkDataset("toy", photos[:2], photos[[7]], None, ({"ok": [1]},))

    with pytest.raises(ValueError, match=r"1 of the 1 `queries` images.*7\.jpg: missing"):
        toy.check_images(max_corrupt_share=1)


def test_a_share_outside_0_to_1_is_refused(photos):
    with pytest.raises(ValueError, match=r"`max_corrupt_share` must be in \[0, 1\]"):
        LandmarkDataset("toy", photos[:2], photos[[0]], None, ({"ok": [1]},)).check_images(1.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"database": ""}, r"`database` must list at least one file"),
        ({"queries": "", "labels": ()}, r"`queries` must list at least one file"),
        ({"queries": "xyz"}, r"`labels` must hold one entry for each of the 3 queries"),
        ({"boxes": np.zeros((3, 4))}, r"`boxes` must be \[2, 4\].*\(3, 4\)"),
        ({"boxes": np.array([[0, 0, 5, 5], [5, 0, 5, 5]])}, r"`boxes` must be finite.*boxes\[1\].* of y"),
        ({"boxes": np.array([[0, 0, 5, np.nan]] * 2)}, r"`boxes` must be finite.*boxes\[0\]"),
        ({"labels": ({"good": [1]}, {})}, r"`labels` must be among .*labels\[0\] has \['good'\]"),
        ({"labels": ({}, {"ok": [5]})}, r"indices of the 5 database images.*labels\[1\]\['ok'\] from 5 to 5"),
        ({"labels": ({"ok": [-1, 2]}, {})}, r"indices of the 5 database images.*from -1 to 2"),
        ({"labels": ({"ok": [0.5]}, {})}, r"flat lists of integers.*float64"),
        ({"labels": ({"ok": [[1]]}, {})}, r"flat lists of integers.*shape \(1, 1\)"),
        ({"labels": ({"ok": [1, 2], "junk": [2]}, {})}, r"both 'ok' and 'junk'.*1 such images of labels\[0\], first 2"),
        ({"labels": ({}, {"easy": [3], "hard": [3]})}, r"both 'easy' and 'hard'.*labels\[1\], first 3"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataset(**changes)
