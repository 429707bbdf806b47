import numpy as np
import pytest

from keras_sare.datasets.landmarks.landmark_dataset import LandmarkDataset
from keras_sare.datasets.landmarks.landmark_files import read_landmarks
from keras_sare.evaluation.landmarks import dimension_sweep, evaluate_landmarks, evaluate_protocols, evaluate_rankings
from keras_sare.evaluation.mean_average_precision import average_precisions

IMAGES = 40
DIM = 32


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def toy():
    """Queries, database and ground truth; the last query has no hard image."""
    random = np.random.RandomState(0)
    parts = [np.split(random.permutation(IMAGES), [4, 8 if query < 5 else 4, 11]) for query in range(6)]
    labels = tuple(dict(zip(("easy", "hard", "junk"), part, strict=False)) for part in parts)
    paths = np.array([f"{i}.jpg" for i in range(IMAGES)])
    dataset = LandmarkDataset("toy", paths, paths[:6], None, labels)
    return unit(random.normal(size=(6, DIM))), unit(random.normal(size=(IMAGES, DIM))), dataset


def test_a_report_holds_the_means_of_the_measures(toy):
    queries, database, dataset = toy

    report = evaluate_landmarks(queries, database, dataset, "hard", ks=(1, 3))

    averages, precisions = average_precisions(queries, database, *dataset.relevant("hard"), ks=(1, 3))
    assert (report.dataset, report.protocol) == ("toy", "hard")
    assert (report.queries, report.queries_without_positive, report.database) == (6, 1, 40)
    assert report.mean_average_precision == pytest.approx(np.nanmean(averages), abs=1e-12)
    assert report.ks == (1, 3)
    assert report.precisions == pytest.approx(np.nanmean(precisions, axis=0), abs=1e-12)


def test_all_protocols_at_once_are_each_alone(toy):
    together = evaluate_protocols(*toy)

    assert list(together) == ["easy", "medium", "hard"]
    assert together == {protocol: evaluate_landmarks(*toy, protocol) for protocol in together}


def test_rankings_give_the_reports_of_the_search_that_made_them(toy):
    queries, database, dataset = toy
    ranks = np.argsort(-(queries @ database.T), axis=1, kind="stable")

    assert evaluate_rankings(ranks, dataset) == evaluate_protocols(*toy)


def test_short_rankings_lose_what_they_lack(toy):
    queries, database, dataset = toy
    ranks = np.argsort(-(queries @ database.T), axis=1, kind="stable")
    ranks[:, 10:] = -1

    short = evaluate_rankings(ranks, dataset, protocols=("medium",))
    whole = evaluate_protocols(*toy)

    assert 0 < short["medium"].mean_average_precision < whole["medium"].mean_average_precision


def test_perfect_descriptors_reach_1(toy):
    _, _, dataset = toy
    queries = np.eye(6, DIM, dtype=np.float32)
    database = np.zeros((IMAGES, DIM), np.float32)
    for query, positives in enumerate(dataset.relevant("medium")[0]):
        database[positives, query] = 1

    report = evaluate_landmarks(queries, database, dataset, "medium")

    assert (report.mean_average_precision, report.precisions) == (1, (1, 1, 1))


def test_a_sweep_measures_the_first_components_anew(toy):
    queries, database, dataset = toy

    sweep = dimension_sweep(queries, database, dataset, dimensions=(64, 16, 8, 32))

    assert list(sweep) == [8, 16, 32]
    assert sweep[32] == evaluate_protocols(*toy)
    assert sweep[8] == evaluate_protocols(unit(queries[:, :8]), unit(database[:, :8]), dataset)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, x, d: evaluate_protocols(q[:5], x, d), r"`queries` must have one row for each of the 6 images"),
        (lambda q, x, d: evaluate_protocols(q, x[:5], d), r"`database` must have one row for each of the 40 images"),
        (
            lambda q, x, d: evaluate_landmarks(q, x, d, "classic"),
            r"allow, \('easy', 'medium', 'hard'\).*\('classic',\)",
        ),
        (lambda q, x, d: evaluate_rankings(np.zeros((5, 2), int), d), r"`ranks` must have one row for each of the 6"),
        (lambda q, x, d: evaluate_rankings(np.full((6, 2), 40), d), r"indices of the 40 database images, or -1.*40"),
        (lambda q, x, d: evaluate_rankings(np.full((6, 2), -2), d), r"indices of the 40 database images, or -1.*-2"),
        (lambda q, x, d: dimension_sweep(q, x, d, (64, 128)), r"`dimensions` must be at most 32.*\(64, 128\)"),
    ],
)
def test_what_does_not_fit_the_dataset_is_refused(toy, change, message):
    with pytest.raises(ValueError, match=message):
        change(*toy)


def test_real_ground_truth_gives_every_protocol(real_data):
    dataset = read_landmarks(real_data / "kitay_gorod")
    database = unit(np.random.RandomState(0).normal(size=(len(dataset.database), 16)))
    index_of = {path: index for index, path in enumerate(dataset.database)}
    queries = database[[index_of[path] for path in dataset.queries]]

    reports = evaluate_protocols(queries, database, dataset)

    assert list(reports) == ["classic", "easy", "medium", "hard"]
    assert [report.queries_without_positive for report in reports.values()] == [0, 0, 0, 5]
    # "ok" is easy and hard together there, and the query itself is junk: it does not stand first.
    assert reports["classic"].mean_average_precision == reports["medium"].mean_average_precision < 0.3
