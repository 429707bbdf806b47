import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from keras_sare.retrieval.reranking.integral_volumes import IntegralVolume
from keras_sare.retrieval.reranking.localisation import BoxSearch

DATA = Path(__file__).parents[2] / "data"
SEEDED = SimpleNamespace(**runpy.run_path(str(DATA / "localisation_cases.py")))
ORACLE = dict(np.load(DATA / "localisation_oracle.npz"))
GRID_ONLY = BoxSearch(refinements=0)


def loaded(activations):
    volume = IntegralVolume()
    volume.load(activations)
    return volume


def direct_score(activations, box, query, power=10):
    """Cosine of the query with (sum over the box of x^power)^(1 / power), without integral volumes, in float64."""
    y1, x1, y2, x2 = box
    inside = activations[y1:y2, x1:x2].astype(np.float64)
    maxima = (inside**power).sum(axis=(0, 1)) ** (1 / power)
    return maxima @ query / max(np.linalg.norm(maxima) * np.linalg.norm(query), 1e-30)


def localised(search, index):
    activations, query, aspect = SEEDED.case(index)
    boxes, scores = search.localise(loaded(activations), query[None], np.array([aspect]))
    return boxes[0], scores[0]


def grid_size(index):
    activations, _, aspect = SEEDED.case(index)
    return len(BoxSearch().grid(*activations.shape[:2], aspect))


@pytest.mark.parametrize(("search", "name"), [(GRID_ONLY, "grid"), (BoxSearch(), "refined")], ids=["grid", "refined"])
def test_the_best_box_is_that_of_the_authors_code(search, name):
    cases = [i for i in range(SEEDED.CASES) if name == "refined" or grid_size(i)]
    found = {index: localised(search, index) for index in cases}

    assert len(cases) > 50
    assert {i: box.tolist() for i, (box, _) in found.items()} == {i: ORACLE[name][i].tolist() for i in cases}
    assert {i: score for i, (_, score) in found.items()} == pytest.approx(
        {i: ORACLE[f"{name}_scores"][i] for i in cases}, abs=3e-7
    )


def test_scores_are_those_of_a_direct_evaluation():
    for index in range(0, SEEDED.CASES, 4):
        activations, query, _ = SEEDED.case(index)
        for search in (GRID_ONLY, BoxSearch()):
            box, score = localised(search, index)
            assert score == pytest.approx(direct_score(activations, box, query), abs=3e-7), f"case {index}"


@pytest.mark.parametrize("index", [0, 3, 4, 9, 10])
def test_the_grid_is_searched_as_brute_force_does(index):
    activations, query, aspect = SEEDED.case(index)
    height, width = activations.shape[:2]

    scores = {}
    for y1 in range(0, height, 3):
        for x1 in range(0, width, 3):
            for y2 in range(y1 + 2, height + 1, 3):
                for x2 in range(x1 + 2, width + 1, 3):
                    shape = (y2 - y1) / (x2 - x1)
                    if max(shape / aspect, aspect / shape) <= 1.1:
                        scores[y1, x1, y2, x2] = direct_score(activations, (y1, x1, y2, x2), query)

    assert sorted(scores) == sorted(map(tuple, BoxSearch().grid(height, width, aspect).tolist()))
    assert tuple(localised(GRID_ONLY, index)[0]) == max(scores, key=scores.get)


def test_refinement_never_lowers_the_score():
    for index in range(SEEDED.CASES):
        scores = [localised(BoxSearch(refinements=rounds), index)[1] for rounds in (0, 1, 2, 5)]
        assert scores[0] <= min(scores[1:]), f"case {index}"


def test_refinement_ends_where_no_side_can_be_moved_for_the_better():
    search = BoxSearch(refinements=1000)
    for index in range(0, SEEDED.CASES, 7):
        activations, query, _ = SEEDED.case(index)
        box, score = localised(search, index)
        for side in range(4):
            for move in (-1, 1):
                other = box + move * (np.arange(4) == side)
                fits = (other >= 0).all() and (other[2:] <= activations.shape[:2]).all()
                if fits and (other[2:] - other[:2] >= 2).all():
                    assert direct_score(activations, other, query) <= score + 3e-7


def test_queries_together_find_what_each_finds_alone():
    activations, _, _ = SEEDED.case(2)
    random = np.random.RandomState(0)
    queries = random.random_sample((40, SEEDED.CHANNELS)) ** 3
    aspects = random.uniform(0.4, 2.5, 40)
    volume = loaded(activations)

    boxes, scores = BoxSearch().localise(volume, queries, aspects)

    alone = [BoxSearch().localise(volume, queries[[i]], aspects[[i]]) for i in range(40)]
    np.testing.assert_array_equal(boxes, np.concatenate([one for one, _ in alone]))
    np.testing.assert_array_equal(scores, np.concatenate([one for _, one in alone]))


def test_of_equally_good_boxes_the_first_of_the_grid_is_found():
    activations = np.zeros((9, 9, 2), np.uint8)
    activations[4, 4] = [3, 5]
    volume = loaded(activations)
    random = np.random.RandomState(0)

    for count in (1, 2, 9):
        boxes, _ = GRID_ONLY.localise(volume, random.random_sample((count, 2)), np.ones(count))
        assert (boxes == boxes[0]).all()
        assert boxes[0].tolist() == [3, 3, 5, 5]


def test_a_planted_object_is_found_exactly():
    activations = np.zeros((30, 40, 4), np.uint8)
    activations[10:21, 13:27] = [8, 6, 4, 0]
    activations[:, :, 3] = 8
    activations[10:21, 13:27, 3] = 0

    boxes, scores = BoxSearch().localise(loaded(activations), np.array([[8, 6, 4, 0.0]]), np.array([11 / 14]))

    y1, x1, y2, x2 = boxes[0]
    assert 10 <= y1 < y2 <= 21
    assert 13 <= x1 < x2 <= 27
    assert scores[0] == pytest.approx(1, abs=1e-6)


def test_boxes_of_any_shape_can_be_allowed():
    grid = BoxSearch(aspect_tolerance=math.inf).grid(8, 11, aspect=1.0)

    assert len(grid) == (3 + 2 + 1) * (4 + 3 + 2 + 1)
    assert len({tuple(box) for box in grid.tolist()}) == len(grid)


def test_a_map_without_boxes_of_the_aspect_ratio_is_searched_from_the_whole():
    activations = SEEDED.case(0)[0][:6, :6]
    search = BoxSearch(refinements=0)

    boxes, scores = search.localise(loaded(activations), np.ones((1, SEEDED.CHANNELS)), np.array([20.0]))

    assert not len(search.grid(6, 6, 20.0))
    assert boxes.tolist() == [[0, 0, 6, 6]]
    assert scores[0] == pytest.approx(direct_score(activations, boxes[0], np.ones(SEEDED.CHANNELS)), abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_maps_too_small_for_a_grid_give_boxes_in_them(shape):
    activations = np.arange(shape[0] * shape[1] * 3).reshape(*shape, 3).astype(np.uint8) % 9

    boxes, _ = BoxSearch().localise(loaded(activations), np.ones((1, 3)), np.array([1.0]))

    y1, x1, y2, x2 = boxes[0]
    assert 0 <= y1 < y2 <= shape[0]
    assert 0 <= x1 < x2 <= shape[1]


def test_an_empty_map_scores_nothing():
    boxes, scores = BoxSearch().localise(loaded(np.zeros((9, 9, 3), np.uint8)), np.ones((1, 3)), np.array([1.0]))

    assert scores.tolist() == [0]
    assert (boxes[:, 2:] > boxes[:, :2]).all()


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("power", 0, 1),
        ("step", 0, 1),
        ("aspect_tolerance", 0.9, 1),
        ("aspect_tolerance", math.nan, 1),
        ("refinements", -1, 0),
    ],
)
def test_settings_out_of_range_are_refused(name, value, least):
    with pytest.raises(ValueError, match=f"`{name}` must be at least {least}. Received: {name}={value}"):
        BoxSearch(**{name: value})


def test_a_volume_of_another_power_is_refused():
    with pytest.raises(ValueError, match=r"`volume` must have the power 5. Received: volume.power=10"):
        BoxSearch(power=5).localise(loaded(np.ones((3, 3, 1), np.uint8)), np.ones((1, 1)), np.ones(1))
