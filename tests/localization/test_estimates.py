"""The place that candidates agree about."""

import numpy as np
import pytest

from keras_sare.localization import estimate_positions

HERE = [[100.0, 200.0], [110.0, 200.0], [105.0, 210.0]]
ELSEWHERE = [900.0, 900.0]


def test_several_that_agree_outvote_one_that_is_a_little_more_similar() -> None:
    found = estimate_positions([[0.81, 0.80, 0.80, 0.80]], [[ELSEWHERE, *HERE]], radius=25)
    np.testing.assert_allclose(found.positions, [np.mean(HERE, axis=0)])
    assert found.best.tolist() == [1]
    np.testing.assert_allclose(found.scores, 0.80)
    np.testing.assert_allclose(found.margins, -0.01)
    weights = np.exp([0, -0.5, -0.5, -0.5])
    np.testing.assert_allclose(found.support, weights[1:].sum() / weights.sum())


def test_one_that_is_much_more_similar_outvotes_several() -> None:
    found = estimate_positions([[0.95, 0.80, 0.80, 0.80]], [[ELSEWHERE, *HERE]], radius=25)
    np.testing.assert_allclose(found.positions, [ELSEWHERE])
    np.testing.assert_allclose(found.margins, 0.15)


def test_the_position_is_the_weighted_mean_of_those_that_agree() -> None:
    found = estimate_positions([[0.9, 0.88]], [[[0.0, 0.0, 1.0], [10.0, 0.0, 1.0]]], radius=10, temperature=0.02)
    weights = np.exp([0, -1])
    np.testing.assert_allclose(found.positions, [[10 * weights[1] / weights.sum(), 0, 1]])
    np.testing.assert_allclose(found.margins, 0.02)
    np.testing.assert_allclose(found.support, 1)


def test_photos_with_few_candidates_or_none() -> None:
    scores = [[0.5, np.nan, np.nan], [np.nan] * 3]
    positions = np.full((2, 3, 2), np.nan)
    positions[0, 0] = ELSEWHERE
    found = estimate_positions(scores, positions)
    np.testing.assert_array_equal(found.positions, [ELSEWHERE, [np.nan, np.nan]])
    assert found.best.tolist() == [0, -1]
    np.testing.assert_array_equal(found.features, [[0.5, 0, 1], [0, 0, 0]])


def test_many_photos_are_estimated_as_one_by_one() -> None:
    generator = np.random.default_rng(0)
    scores = -np.sort(-generator.uniform(0.3, 0.9, (600, 7)), axis=1)
    positions = generator.uniform(0, 80, (600, 7, 2))
    whole = estimate_positions(scores, positions)
    for row in (0, 255, 256, 599):
        alone = estimate_positions(scores[row : row + 1], positions[row : row + 1])
        np.testing.assert_allclose(whole.positions[row], alone.positions[0])
        np.testing.assert_allclose(whole.features[row], alone.features[0])
    assert estimate_positions(scores[:0], positions[:0]).features.shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scores": [0.5]}, r"must be \[Q, k\]"),
        ({"scores": [[0.5, 0.4]]}, r"must be \[Q, k\]"),
        ({"radius": 0}, "must be positive"),
        ({"temperature": -1}, "must be positive"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_positions(**{"scores": [[0.5]], "positions": [[ELSEWHERE]], **arguments})
