import dataclasses

import numpy as np
import pytest

from keras_sare.datasets import SfMDataset
from keras_sare.mining import matching_pairs


@pytest.fixture
def row_of_photos():
    """Two models; in each every photo shares half of its points with the next one. The last photo sees from afar."""
    images = np.arange(7)
    models = np.array([0, 0, 0, 0, 1, 1, 1])
    points = (2 * images + 100 * models)[:, None] + np.arange(4)
    scales = np.where(images == 6, 5.0, 1.0)[:, None] * np.ones(4)
    return SfMDataset(
        "row",
        [f"{i}.jpg" for i in images],
        models,
        models,
        centres=np.stack([images, 0 * images, 0 * images], axis=1).astype(float),
        point_starts=4 * np.arange(8),
        points=points.ravel(),
        scales=scales.ravel(),
    )


def test_pairs_are_all_that_m3_may_choose_both_ways(row_of_photos):
    queries, positives = matching_pairs(row_of_photos)
    assert queries.dtype == positives.dtype == np.int64
    assert list(zip(queries.tolist(), positives.tolist(), strict=True)) == [
        (0, 1),
        (1, 0),
        (1, 2),
        (2, 1),
        (2, 3),
        (3, 2),
        (4, 5),
        (5, 4),
    ]


def test_published_pairs_are_taken_as_they_are(row_of_photos):
    published = np.array([[3, 0], [1, 2], [1, 2]])
    queries, positives = matching_pairs(dataclasses.replace(row_of_photos, pairs=published))
    assert queries.tolist() == [3, 1, 1]
    assert positives.tolist() == [0, 2, 2]


def test_photos_that_do_not_match_are_refused(row_of_photos):
    with pytest.raises(
        ValueError, match="`dataset` must have photos that match.*Received: 2 photos of 'apart' without"
    ):
        matching_pairs(row_of_photos.subset(np.array([0, 3]), "apart"))


def test_photos_without_geometry_or_pairs_are_refused(row_of_photos):
    with pytest.raises(ValueError, match="`dataset` must have `centres` for positives by 'm3'"):
        matching_pairs(SfMDataset("bare", row_of_photos.paths, row_of_photos.models, row_of_photos.clusters))
