import dataclasses
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf

from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.distribution.workers import Workers
from keras_sare.extraction import StoredInputs
from keras_sare.training import MeanAveragePrecisionValidation, SfMPhotos, SfMSettings
from keras_sare.training.validation import mean_average_precision_validation


class Stored:
    """Gives the stored rows as descriptors."""

    output_shape = (5,)

    def extract(self, inputs, ids, batch_size, out, description):
        out[:] = inputs.array[ids]
        return out


@pytest.fixture
def photos(make_sfm_photos):
    rows = np.random.default_rng(2).normal(size=(12, 5)).astype("float32")
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return dataclasses.replace(make_sfm_photos("val", models=3, seed=1), inputs=StoredInputs(rows))


def measure(validation):
    return validation.measure(Stored(), Workers(tf.distribute.get_strategy()))


def naive_average_precision(rows, query, right, neither):
    order = [i for i in np.argsort(-(rows @ rows[query]), kind="stable").tolist() if i not in neither]
    found = [rank for rank, image in enumerate(order) if image in right]
    before = [1.0 if rank == 0 else j / rank for j, rank in enumerate(found)]
    return np.mean([(a + (j + 1) / (rank + 1)) / 2 for j, (a, rank) in enumerate(zip(before, found, strict=True))])


def test_photos_that_share_a_point_are_right_and_others_of_the_model_do_not_count(photos):
    validation = MeanAveragePrecisionValidation(photos)
    np.testing.assert_array_equal(validation.queries, np.arange(12))
    right, neither = validation.relevant(np.arange(4, 8))
    assert [photos.tolist() for photos in right] == [[5], [4, 6], [5, 7], [6]]
    assert [photos.tolist() for photos in neither] == [[4, 6, 7], [5, 7], [4, 6], [4, 5, 7]]


def test_mean_average_precision_is_that_of_a_naive_ranking(photos):
    validation = MeanAveragePrecisionValidation(photos)
    rows = photos.inputs.array
    report = measure(validation)
    expected = [
        naive_average_precision(rows, query, right, neither)
        for query, right, neither in zip(validation.queries, *validation.relevant(validation.queries), strict=True)
    ]
    assert report.mean_average_precision == pytest.approx(np.mean(expected), abs=1e-12)
    assert 0 < report.mean_average_precision < 1
    assert (report.dataset, report.queries, report.database) == ("val", 12, 12)
    assert report.protocol == "photos of one model that share points"


def test_without_points_the_photos_of_the_cluster_are_right(photos):
    pairs = np.array([[0, 1], [4, 5], [8, 9]])
    known = {"centres": None, "point_starts": None, "points": None, "scales": None, "pairs": pairs}
    dataset = dataclasses.replace(photos.dataset, **known)
    validation = MeanAveragePrecisionValidation(dataclasses.replace(photos, dataset=dataset))
    right, neither = validation.relevant(np.array([4, 5]))
    assert [photos.tolist() for photos in right] == [[5, 6, 7], [4, 6, 7]]
    assert [photos.tolist() for photos in neither] == [[4], [5]]
    assert measure(validation).protocol == "photos of one cluster"


def test_photo_that_shares_no_point_is_no_query_but_in_the_database(photos):
    points = photos.dataset.points.copy()
    points[:3] = [900, 901, 902]  # those of the first photo
    dataset = dataclasses.replace(photos.dataset, points=points)
    validation = MeanAveragePrecisionValidation(dataclasses.replace(photos, dataset=dataset))
    np.testing.assert_array_equal(validation.queries, np.arange(1, 12))
    report = measure(validation)
    assert (report.queries, report.database) == (11, 12)
    points[:] = np.arange(36)
    dataset = dataclasses.replace(dataset, points=points)
    with pytest.raises(ValueError, match="`photos` must hold a photo of which another one shows the same.*'val'"):
        MeanAveragePrecisionValidation(dataclasses.replace(photos, dataset=dataset))


def test_higher_mean_average_precision_is_better_whatever_the_precisions(photos):
    validation = MeanAveragePrecisionValidation(photos)
    report = measure(validation)
    figures = validation.figures(report)
    assert list(figures) == ["mAP", "mP@1", "mP@5", "mP@10"]
    assert figures["mAP"] == report.mean_average_precision
    higher = dataclasses.replace(
        report, mean_average_precision=report.mean_average_precision + 1e-6, precisions=(0.0, 0.0, 0.0)
    )
    assert validation.is_better(higher, report.to_json())
    assert not validation.is_better(report, higher.to_json())
    assert not validation.is_better(report, report.to_json())


def test_chiefs_figures_count_on_every_worker(photos):
    workers = Workers(tf.distribute.get_strategy())
    workers.broadcast = lambda values: np.array([[0.25, 0.5, 0.5, 1.0], [0.75, 0.0, 1.0, 1.0]])
    report = MeanAveragePrecisionValidation(photos).measure(Stored(), workers)
    assert report.mean_average_precision == 0.5
    assert report.precisions == (0.25, 0.75, 1.0)


@pytest.mark.parametrize(("limit", "expected"), [(0, [1] * 12), (2000, [7, 5]), (1e9, [12])])
def test_queries_are_measured_in_blocks_within_the_memory_limit_with_the_same_figures(
    photos, monkeypatch, limit, expected
):
    whole = measure(MeanAveragePrecisionValidation(photos))
    original = mean_average_precision_validation.average_precisions
    sizes = []

    def counted(queries, *rest):
        sizes.append(len(queries))
        return original(queries, *rest)

    monkeypatch.setattr(mean_average_precision_validation, "average_precisions", counted)
    settings = dataclasses.replace(photos.settings, memory_limit=limit)
    report = measure(MeanAveragePrecisionValidation(dataclasses.replace(photos, settings=settings)))
    assert sizes == expected
    assert report == whole


@pytest.mark.parametrize("with_points", [True, False], ids=["points", "clusters"])
def test_memory_does_not_grow_with_the_square_of_a_cluster(tmp_path, with_points):
    count = 3000
    known = {}
    if with_points:
        points = (np.arange(count)[:, None] + np.arange(2)).ravel()
        known = {"points": points, "point_starts": 2 * np.arange(count + 1), "scales": np.ones(2 * count, np.float32)}
    dataset = SfMDataset("val", [f"{i}.jpg" for i in range(count)], np.zeros(count), np.zeros(count), **known)
    photos = SfMPhotos(dataset, StoredInputs(np.zeros((count, 5), np.float32)), SfMSettings(), tmp_path)
    tracemalloc.start()
    try:
        validation = MeanAveragePrecisionValidation(photos)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(validation.queries) == count
    assert peak < count**2 / 2  # bytes: half of a table of truth values
