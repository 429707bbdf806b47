import tracemalloc

import numpy as np
import pytest

from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.mining.sfm import co_observation
from keras_sare.mining.sfm.co_observation import co_observers, images_by


def dataset_of(models, observed):
    starts = np.cumsum([0, *map(len, observed)])
    points = np.concatenate([np.sort(one) for one in observed]).astype(np.int64)
    paths = [f"{i}.jpg" for i in range(len(models))]
    geometry = {"point_starts": starts, "points": points, "scales": np.ones(len(points), np.float32)}
    return SfMDataset("town", paths, models, models, **geometry)


def random_town(seed, images=50, models=4):
    """Images of models in mixed order; some observe nothing, some share nothing."""
    random = np.random.default_rng(seed)
    model = random.integers(0, models, images)
    counts = random.integers(0, 6, images)
    return dataset_of(
        model, [1000 * m + random.choice(40, n, replace=False) for m, n in zip(model, counts, strict=True)]
    )


def naive(dataset):
    seen = [set(dataset.points_of(i).tolist()) for i in range(len(dataset))]
    return [[j for j, other in enumerate(seen) if j != i and one & other] for i, one in enumerate(seen)]


def test_images_are_sorted_by_their_group():
    groups = images_by(np.array([7, -1, 7, 3, -1]))
    assert [images.tolist() for images in groups] == [[1, 4], [3], [0, 2]]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("block", [1, 40, 1 << 22])
def test_co_observers_equal_a_naive_loop_whatever_the_blocks(monkeypatch, seed, block):
    monkeypatch.setattr(co_observation, "_BLOCK", block)
    dataset = random_town(seed)
    found = co_observers(dataset)
    assert (found.indices.dtype, len(found)) == (np.int64, 50)
    assert [others.tolist() for others in found] == naive(dataset)


def test_memory_does_not_grow_with_the_square_of_a_model():
    images = 3000
    dataset = dataset_of(np.zeros(images, np.int64), [np.arange(i, i + 3) for i in range(images)])
    tracemalloc.start()
    try:
        found = co_observers(dataset)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found[1000].tolist() == [998, 999, 1001, 1002]
    assert peak < images**2 / 2  # bytes: half of a table of truth values


def test_images_without_points_are_refused():
    with pytest.raises(ValueError, match="`points` must be known for this. Received: 'town' without points"):
        co_observers(SfMDataset("town", ["a.jpg"], [0], [0]))
