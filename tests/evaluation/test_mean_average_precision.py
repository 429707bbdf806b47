from pathlib import Path

import numpy as np
import pytest

from keras_sare.evaluation.mean_average_precision import (
    average_precisions,
    average_precisions_by_protocol,
    average_precisions_of_ranks,
    mean_over_queries,
)
from keras_sare.evaluation.streamed_ranks import streamed_ranks

ORACLE = dict(np.load(Path(__file__).parents[1] / "data" / "map_oracle.npz"))
CASES = sorted({name.partition("/")[0] for name in ORACLE})
BITS = {"ok": 1, "easy": 2, "hard": 4, "junk": 8}
PROTOCOLS = {
    "classic": (("ok",), ("junk",)),
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}


def case_of(name):
    """Descriptors of a case as float32, the length of its rankings, and its labels by protocol."""
    case = {key.partition("/")[2]: value for key, value in ORACLE.items() if key.startswith(f"{name}/")}
    protocols = {
        protocol: tuple(
            [np.concatenate([np.flatnonzero(row & BITS[label]) for label in labels]) for row in case["labels"]]
            for labels in sides
        )
        for protocol, sides in PROTOCOLS.items()
    }
    return case["queries"].astype(np.float32), case["database"].astype(np.float32), int(case["shown"]), protocols


def assert_equals_public_code(name, protocol, averages, precisions):
    expected = {what: ORACLE[f"{name}/{protocol}/{what}"] for what in ("aps", "prs", "map", "pr")}
    np.testing.assert_array_equal(averages, expected["aps"])
    np.testing.assert_array_equal(precisions, expected["prs"])
    np.testing.assert_array_equal(mean_over_queries(averages), expected["map"])
    np.testing.assert_array_equal(mean_over_queries(precisions), expected["pr"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", CASES)
def test_measures_of_rankings_equal_the_public_code_to_the_last_bit(name, protocol):
    queries, database, shown, protocols = case_of(name)
    ranks = np.argsort(-(queries @ database.T), axis=1, kind="stable")[:, :shown]

    assert_equals_public_code(name, protocol, *average_precisions_of_ranks(ranks, *protocols[protocol]))


@pytest.mark.parametrize("block_rows", [1, 7, 64, None])
@pytest.mark.parametrize("name", [name for name in CASES if name != "short_rankings"])
def test_measures_without_rankings_equal_the_public_code_to_the_last_bit(name, block_rows):
    queries, database, _, protocols = case_of(name)

    measured = average_precisions_by_protocol(queries, database, protocols, block_rows=block_rows)

    for protocol, each in measured.items():
        assert_equals_public_code(name, protocol, *each)


@pytest.mark.parametrize("name", CASES)
def test_rounded_means_are_what_the_public_code_prints(name):
    queries, database, shown, protocols = case_of(name)
    ranks = np.argsort(-(queries @ database.T), axis=1, kind="stable")[:, :shown]
    means = {
        protocol: [np.around(100 * mean_over_queries(each), 2) for each in average_precisions_of_ranks(ranks, *labels)]
        for protocol, labels in protocols.items()
    }
    maps = ", ".join(f"{letter}: {means[p][0]}" for letter, p in (("E", "easy"), ("M", "medium"), ("H", "hard")))
    precisions = ", ".join(f"{letter}: {means[p][1]}" for letter, p in (("E", "easy"), ("M", "medium"), ("H", "hard")))

    assert str(ORACLE[f"{name}/printed"]).splitlines() == [
        f">> roxford5k: mAP {maps}",
        f">> roxford5k: mP@k[1, 5, 10] {precisions}",
        f">> oxford5k: mAP {means['classic'][0]:.2f}",
    ]


def test_the_oracle_has_ties_and_queries_with_nothing_to_find():
    queries, database, *_ = case_of("many_ties")

    assert len(np.unique(queries @ database.T)) < 10
    assert np.isnan(ORACLE["few_positives/classic/aps"]).any()


def classic_average_precision(ranking, positives, junk):
    """As compute_ap.cpp of Oxford5k goes about it: down the whole ranking, past the junk."""
    precision_before = 1.0
    recall_before = 0.0
    seen = 0
    found = 0
    area = 0.0
    for image in ranking:
        if image in junk:
            continue
        found += image in positives
        seen += 1
        recall = found / len(positives)
        precision = found / seen
        area += (recall - recall_before) * (precision + precision_before) / 2
        recall_before = recall
        precision_before = precision
    return area


def test_the_classic_code_of_oxford_measures_the_same():
    random = np.random.RandomState(1)
    ranks = np.stack([random.permutation(60) for _ in range(20)])
    labels = [np.split(random.permutation(60), [1 + i, 2 + 2 * i]) for i in range(20)]
    positives = [each[0] for each in labels]
    junk = [each[1] for each in labels]

    averages, _ = average_precisions_of_ranks(ranks, positives, junk)

    expected = [classic_average_precision(*each) for each in zip(ranks, positives, junk, strict=True)]
    np.testing.assert_allclose(averages, expected, rtol=0, atol=1e-12)


def test_a_ranking_worked_out_by_hand():
    # Without image 9 the ranking is 4 0 1 5 2: positives 0 and 2 at ranks 1 and 4.
    averages, precisions = average_precisions_of_ranks(
        np.array([[4, 9, 0, 1, 5, 2]]), [np.array([0, 2])], [np.array([9])], ks=(1, 2, 5, 10)
    )

    assert averages[0] == pytest.approx(((0 / 1 + 1 / 2) / 2 + (1 / 4 + 2 / 5) / 2) / 2)
    assert precisions[0].tolist() == [0, 0.5, 0.4, 0.4]


def test_all_positives_first_is_perfect_at_every_k():
    averages, precisions = average_precisions_of_ranks(np.array([[3, 1, 0, 2]]), [np.array([1, 3])], [np.array([])])

    assert averages.tolist() == [1]
    assert precisions.tolist() == [[1, 1, 1]]


def test_a_query_without_positives_is_nan_and_left_out_of_the_mean():
    averages, precisions = average_precisions_of_ranks(
        np.array([[0, 1], [1, 0]]), [np.array([], int), np.array([1])], [np.array([], int)] * 2
    )

    assert np.isnan(averages[0])
    assert np.isnan(precisions[0]).all()
    assert mean_over_queries(averages) == 1
    assert mean_over_queries(precisions).tolist() == [1, 1, 1]


def test_positives_that_a_short_ranking_lacks_add_nothing():
    averages, precisions = average_precisions_of_ranks(np.array([[5, -1, -1]]), [np.array([1, 2])], [np.array([], int)])

    assert averages.tolist() == [0]
    assert precisions.tolist() == [[0, 0, 0]]


def test_a_mean_of_no_query_is_refused():
    with pytest.raises(ValueError, match="`positives` must give at least one query a database image.*2 queries"):
        mean_over_queries(np.full(2, np.nan))


def unit(random, *shape):
    rows = random.normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_streamed_ranks_are_those_of_a_stable_sort():
    random = np.random.RandomState(2)
    queries = unit(random, 9, 16)
    database = unit(random, 500, 16)
    database[100:200] = database[300:400]
    wanted = [np.unique(random.randint(0, 500, 20)) for _ in range(9)]
    # Products of a block at a time, as the streamed ranks see them: of another shape their last bits may differ.
    products = np.concatenate([queries @ database[i : i + 128].T for i in range(0, 500, 128)], axis=1)
    order = np.argsort(-products, axis=1, kind="stable")

    ranks = streamed_ranks(queries, database, wanted, block_rows=128)

    for row, mine, found in zip(order, wanted, ranks, strict=True):
        assert row[found].tolist() == mine.tolist()


def test_copies_of_one_descriptor_are_ranked_by_index():
    database = np.ones((6, 2), np.float32)

    assert streamed_ranks(np.ones((1, 2), np.float32), database, [np.array([1, 2, 5])], block_rows=2)[0].tolist() == [
        1,
        2,
        5,
    ]


def test_a_memory_map_of_half_precision_is_ranked_like_an_array(tmp_path):
    random = np.random.RandomState(3)
    database = unit(random, 300, 8).astype(np.float16)
    mapped = np.lib.format.open_memmap(tmp_path / "database.npy", "w+", np.float16, database.shape)
    mapped[:] = database
    queries = unit(random, 4, 8)
    wanted = [np.array([0, 150, 299])] * 4

    found = streamed_ranks(queries, mapped, wanted, block_rows=64)

    expected = streamed_ranks(queries, database.astype(np.float32), wanted, block_rows=64)
    assert [each.tolist() for each in found] == [each.tolist() for each in expected]


def test_fewer_dimensions_are_those_of_shorter_normalised_descriptors():
    random = np.random.RandomState(4)
    queries = unit(random, 5, 12)
    database = unit(random, 90, 12)
    positives = [np.arange(i, 90, 7) for i in range(5)]
    ignored = [np.array([], int)] * 5
    shorter = [rows[:, :3] / np.linalg.norm(rows[:, :3], axis=1, keepdims=True) for rows in (queries, database)]

    found = average_precisions(queries, database, positives, ignored, dimensions=3, block_rows=90)

    expected = average_precisions(*shorter, positives, ignored, block_rows=90)
    np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-12)


def test_a_descriptor_that_is_zero_in_the_first_dimensions_is_no_error():
    database = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], np.float32)

    ranks = streamed_ranks(np.array([[1, 0, 0]], np.float32), database, [np.arange(3)], dimensions=2)

    assert ranks[0].tolist() == [1, 0, 2]


ONE = np.ones((1, 2), np.float32)
NOTHING = [np.array([], int)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ONE, np.ones((3, 3)), [np.array([0])], NOTHING), r"\[Q, D\] and \[N, D\].*\(1, 2\).*\(3, 3\)"),
        ((ONE, ONE[0], NOTHING, NOTHING), r"\[Q, D\] and \[N, D\]"),
        ((ONE, ONE, [], NOTHING), r"`positives` must hold one array for each query. Received: 0 arrays, 1 queries"),
        ((ONE, ONE, NOTHING, []), r"`ignored` must hold one array for each query"),
        ((ONE, ONE, [np.array([1])], NOTHING), r"from 0 to 0. Received: positives\[0\] from 1 to 1"),
        ((ONE, ONE, NOTHING, [np.array([-1])]), r"Received: ignored\[0\] from -1 to -1"),
        ((ONE, ONE, NOTHING, NOTHING, (0, 1)), r"`ks` must be at least 1. Received: ks=\(0, 1\)"),
        ((ONE, ONE, NOTHING, NOTHING, (1,), 3), r"`dimensions` must be from 1 to 2.*dimensions=3"),
        ((ONE, ONE, NOTHING, NOTHING, (1,), 0), r"`dimensions` must be from 1 to 2.*dimensions=0"),
        ((ONE, ONE, NOTHING, NOTHING, (1,), None, 0), r"`block_rows` must be at least 1"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        average_precisions(*arguments)


@pytest.mark.parametrize("broken", [np.nan, np.inf, 1e38])
def test_descriptors_that_are_not_finite_are_refused_by_image(broken):
    database = np.full((5, 2), 1e5, np.float32)
    database[3, 1] = broken

    with pytest.raises(ValueError, match=r"finite numbers.*query 0 and database image 3 is"):
        average_precisions(1e5 * ONE, database, [np.array([0])], NOTHING, block_rows=2)


@pytest.mark.parametrize("ranks", [np.zeros(3, int), np.zeros((1, 3))])
def test_rankings_of_another_form_are_refused(ranks):
    with pytest.raises(ValueError, match=r"`ranks` must hold integers, \[Q, n\]"):
        average_precisions_of_ranks(ranks, NOTHING, NOTHING)


def test_negative_labels_of_rankings_are_refused():
    with pytest.raises(ValueError, match=r"from 0 to their number.*positives\[0\] from -2 to 1"):
        average_precisions_of_ranks(np.array([[0, 1]]), [np.array([-2, 1])], NOTHING)
