import dataclasses
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest

from keras_sare.retrieval.reranking.box_descriptor import BoxDescriptor
from keras_sare.retrieval.reranking.integral_volumes import IntegralVolume
from keras_sare.retrieval.reranking.localisation import BoxSearch
from keras_sare.retrieval.reranking.query_objects import QueryObjects
from keras_sare.retrieval.reranking.reranker import Reranker

CHANNELS = 12
IMAGES = 30
QUERIES = 7


class Recorded(Sequence):
    """Maps that note which of them are read."""

    def __init__(self, maps):
        self.maps = maps
        self.read = []

    def __len__(self):
        return len(self.maps)

    def __getitem__(self, index):
        self.read.append(index)
        return self.maps[index]


def make_maps(seed=0):
    """Maps of unlike sizes, each with some of the channels only."""
    random = np.random.RandomState(seed)
    shapes = random.randint(9, 20, (IMAGES, 2))
    shown = random.random_sample((IMAGES, CHANNELS)) < 0.6
    return [
        np.floor(9 * channels * random.random_sample((*shape, CHANNELS)) ** 40).astype(np.uint8)
        for shape, channels in zip(shapes, shown, strict=True)
    ]


def make_queries(maps, describe=None):
    describe = describe or BoxDescriptor()
    crops = [maps[i][2:9, 1:8] for i in range(QUERIES)]
    vectors = np.concatenate([describe(crop, np.array([[0, 0, 7, 7]])) for crop in crops])
    aspects = np.linspace(0.6, 1.6, QUERIES)
    return QueryObjects(vectors, np.stack([crop.max(axis=(0, 1)) for crop in crops]), aspects)


def make_rankings(seed=1):
    random = np.random.RandomState(seed)
    return np.stack([random.permutation(IMAGES) for _ in range(QUERIES)])


def naive(rankings, queries, maps, reranker):
    """One query, one image at a time."""
    rows = []
    for q, ranking in enumerate(rankings):
        boxes = []
        vectors = []
        for image in ranking[: reranker.top]:
            volume = IntegralVolume(reranker.search.power)
            volume.load(maps[image])
            found, _ = reranker.search.localise(volume, queries.maxima[[q]], queries.aspects[[q]])
            boxes.append(found[0])
            vectors.append(reranker.describe(maps[image], found)[0])
        vectors = np.stack(vectors)
        scores = vectors @ queries.descriptors[q]
        order = sorted(range(len(scores)), key=lambda i, scores=scores: -scores[i])
        mean = np.mean([queries.descriptors[q], *vectors[order[: reranker.expand]]], axis=0)
        expanded = vectors @ mean / np.linalg.norm(mean)
        again = sorted(range(len(scores)), key=lambda i, expanded=expanded: -expanded[i])
        rest = ranking[reranker.top :].tolist()
        rows.append(([ranking[i] for i in order] + rest, [ranking[i] for i in again] + rest, boxes, scores, expanded))
    return [np.array(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize(("top", "expand"), [(1, 5), (4, 0), (12, 1), (IMAGES, 5), (1000, 3)])
def test_queries_together_are_reranked_as_one_by_one(top, expand):
    maps = make_maps()
    rankings = make_rankings()
    reranker = Reranker(top=top, expand=expand)
    queries = make_queries(maps)

    found = reranker(rankings, queries, maps)

    ranked, expanded, boxes, scores, expanded_scores = naive(rankings, queries, maps, reranker)
    np.testing.assert_array_equal(found.boxes, boxes)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    np.testing.assert_allclose(found.expanded_scores, expanded_scores, atol=1e-6)
    np.testing.assert_array_equal(found.rankings, ranked)
    np.testing.assert_array_equal(found.expanded, expanded)
    np.testing.assert_array_equal(found.candidates, rankings[:, :top])


def test_only_the_first_images_are_reordered():
    maps = make_maps()
    rankings = make_rankings()

    found = Reranker(top=8)(rankings, make_queries(maps), maps)

    for new in (found.rankings, found.expanded):
        assert new.dtype == np.int64
        np.testing.assert_array_equal(new[:, 8:], rankings[:, 8:])
        np.testing.assert_array_equal(np.sort(new[:, :8]), np.sort(rankings[:, :8]))
        assert (new != rankings).any()


def test_the_image_that_a_query_was_cut_from_comes_first():
    maps = [np.maximum(one, 1) for one in make_maps()]
    for image in range(QUERIES):
        maps[image][2:9, 1:8] = np.random.RandomState(image).randint(0, 9, CHANNELS)
    queries = dataclasses.replace(make_queries(maps), aspects=np.ones(QUERIES))
    rankings = np.tile(np.arange(IMAGES)[::-1], (QUERIES, 1))

    found = Reranker()(rankings, queries, maps)

    np.testing.assert_array_equal(found.rankings[:, 0], np.arange(QUERIES))
    assert (found.scores.max(axis=1) > 0.99).all()


def test_images_of_equal_score_keep_their_order():
    maps = [make_maps()[0]] * IMAGES
    rankings = make_rankings()

    found = Reranker()(rankings, make_queries(make_maps()), maps)

    np.testing.assert_array_equal(found.rankings, rankings)
    np.testing.assert_array_equal(found.expanded, rankings)


def test_an_image_is_read_once_for_all_queries():
    maps = Recorded(make_maps())

    Reranker(top=IMAGES)(make_rankings(), make_queries(maps.maps), maps)

    # Once more the first, for the size of its memory.
    assert sorted(maps.read) == sorted([*range(IMAGES), 0])


@pytest.mark.parametrize("memory_limit", [0, 1e4])
def test_less_memory_changes_no_result(memory_limit):
    maps = make_maps()
    rankings = make_rankings()
    queries = make_queries(maps)

    found = Reranker(memory_limit=memory_limit)(rankings, queries, maps)

    expected = Reranker()(rankings, queries, maps)
    for field in dataclasses.fields(expected):
        one = getattr(found, field.name)
        other = getattr(expected, field.name)
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_memory_stays_within_its_limit():
    random = np.random.RandomState(0)
    count = 30
    maps = [np.floor(9 * random.random_sample((16, 16, 32)) ** 40).astype(np.uint8)] * 40
    maxima = np.stack([maps[0][i % 9 :, :9].max(axis=(0, 1)) for i in range(count)]).astype(np.float32)
    queries = QueryObjects(np.tile(maxima, (1, 16)), maxima, np.ones(count))
    rankings = np.tile(np.arange(40), (count, 1))
    describe = BoxDescriptor(0, lambda rows: np.tile(rows, (1, 16)) / 4)

    def peak(memory_limit):
        tracemalloc.start()
        found = Reranker(describe, memory_limit=memory_limit)(rankings, queries, maps)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest - sum(getattr(found, field.name).nbytes for field in dataclasses.fields(found))

    # The descriptors of all boxes take 2.5 MB.
    assert peak(1.2e6) < 1.2e6
    assert peak(1e9) > 2.5e6


def test_whitened_descriptors_are_compared_where_the_boxes_are_whitened():
    maps = make_maps()
    rankings = make_rankings()
    projection = np.random.RandomState(2).standard_normal((CHANNELS, 5)).astype(np.float32)

    def whiten(rows):
        return rows @ projection / np.linalg.norm(rows @ projection, axis=1, keepdims=True)

    reranker = Reranker(describe=BoxDescriptor(0, whiten), top=10)
    queries = make_queries(maps, reranker.describe)

    found = reranker(rankings, queries, maps)

    np.testing.assert_array_equal(found.rankings, naive(rankings, queries, maps, reranker)[0])
    with pytest.raises(ValueError, match=r"`describe` must give .* of 5 numbers.*Received: 12 numbers"):
        Reranker(top=10)(rankings, queries, maps)


def test_the_search_can_be_another():
    maps = make_maps()
    rankings = make_rankings()
    queries = make_queries(maps)
    reranker = Reranker(search=BoxSearch(power=5, step=2, aspect_tolerance=2, refinements=1))

    found = reranker(rankings, queries, maps)

    np.testing.assert_array_equal(found.boxes, naive(rankings, queries, maps, reranker)[2])


@pytest.mark.parametrize(
    ("rankings", "message"),
    [
        (np.zeros((2, 3), np.int64), r"`rankings` must be integers \[Q, n\], a row for each of the 7 queries"),
        (np.zeros(QUERIES, np.int64), r"`rankings` must be integers \[Q, n\].*shape=\(7,\)"),
        (np.zeros((QUERIES, 3)), r"`rankings` must be integers.*Received: dtype=float64"),
        (np.full((QUERIES, 3), IMAGES), r"`maps` has, 0 to 29. Received: images from 30 to 30"),
        (np.full((QUERIES, 3), -1), r"`maps` has, 0 to 29. Received: images from -1 to -1"),
    ],
)
def test_rankings_that_do_not_fit_are_refused(rankings, message):
    maps = make_maps()
    with pytest.raises(ValueError, match=message):
        Reranker()(rankings, make_queries(maps), maps)


def test_maps_of_another_network_are_refused():
    maps = make_maps()
    maps[3] = maps[3][..., :5]
    with pytest.raises(ValueError, match=r"`maps` must be \[height, width, 12\].* for image 3"):
        Reranker()(make_rankings(), make_queries(make_maps()), maps)


@pytest.mark.parametrize(("name", "value", "least"), [("top", 0, 1), ("expand", -1, 0)])
def test_settings_out_of_range_are_refused(name, value, least):
    with pytest.raises(ValueError, match=f"`{name}` must be at least {least}. Received: {name}={value}"):
        Reranker(**{name: value})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"maxima": np.ones((3, 4))}, r"must be \[Q, D\], \[Q, channels\] and \[Q\] with the same Q"),
        ({"aspects": np.ones((2, 1))}, r"must be \[Q, D\], \[Q, channels\] and \[Q\] with the same Q"),
        ({"maxima": np.array([[1.0, 0], [0, 0]])}, r"`maxima` must be finite and not all 0; look at query 1"),
        ({"descriptors": np.array([[np.nan, 0], [0, 1]])}, r"`descriptors` must be finite; look at query 0"),
        (
            {"aspects": np.array([1.0, 0])},
            r"`aspects` must be finite and positive; look at query 1. Received: aspects=0.0",
        ),
    ],
)
def test_query_objects_that_cannot_be_used_are_refused(changed, message):
    fitting = {"descriptors": np.eye(2), "maxima": np.eye(2), "aspects": np.ones(2)}
    with pytest.raises(ValueError, match=message):
        QueryObjects(**{**fitting, **changed})
