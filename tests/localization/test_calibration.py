"""Probabilities against answers that are right as often as a known rule says."""

import json

import numpy as np
import pytest

from keras_sare.localization import Calibration, calibration_error, reliability


def answers(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, errors in metres, and the probability with which each answer is right."""
    generator = np.random.default_rng(seed)
    features = np.stack(
        [
            generator.uniform(0.4, 0.9, count),
            np.exp(generator.uniform(-7, -1.5, count)),
            generator.uniform(0.1, 1, count),
        ],
        axis=1,
    )
    chance = 1 / (1 + np.exp(-(12 * (features[:, 0] - 0.65) + 0.8 * (np.log(features[:, 1]) + 4))))
    right = generator.random(count) < chance
    errors = np.where(right, generator.uniform(0, 25, count), generator.uniform(30, 3000, count))
    return features, errors, chance


def test_probabilities_are_those_of_the_rule_on_photos_it_has_not_seen() -> None:
    calibration = Calibration.fit(*answers(1500, seed=0)[:2], radius=25)
    features, errors, chance = answers(3000, seed=1)
    probability = calibration.probability(features)
    assert np.abs(probability - chance).mean() < 0.03
    assert calibration_error(probability, errors <= 25) < 0.05
    # What is right half as often as it says is found out.
    assert calibration_error(probability, (errors <= 25) & (np.arange(3000) % 2 == 0)) > 0.2
    within = errors <= calibration.uncertainty(probability)
    assert 0.87 < within.mean() < 0.94
    sure = probability >= calibration.threshold(0.9)
    assert 0.1 < sure.mean() < 0.6
    assert (errors[sure] <= 25).mean() > 0.87
    # A precision that only the surest reach is found among them.
    best = np.sort(calibration.probability(answers(1500, seed=0)[0]))[-20]
    assert calibration.threshold(0.9) < calibration.threshold(0.99) <= best
    assert calibration.threshold(1.0) >= calibration.threshold(0.9) > calibration.threshold(0.5)


def test_it_comes_back_from_json() -> None:
    features, errors, _ = answers(200, seed=2)
    calibration = Calibration.fit(features, errors)
    again = Calibration.from_json(json.loads(json.dumps(calibration.to_json())))
    assert again == calibration
    np.testing.assert_array_equal(again.probability(features), calibration.probability(features))
    good = calibration.to_json()
    changes = [{"mean": [1.0]}, {"probabilities": []}, {"radii": [1.0]}, {"bias": "NaN"}, {"scale": [1, 0, 1]}]
    changes += [{"of": "walks"}, {"of": "reranked"}, {"of": "nothing"}, {"weights": 3}]
    changes += [{"k": 0}, {"k": 10**9}, {"k": float("inf")}]
    for damaged in ({}, *({**good, **change} for change in changes)):
        with pytest.raises(ValueError, match="A calibration must"):
            Calibration.from_json(damaged)


def test_each_kind_of_answers_has_features_of_its_own() -> None:
    features, errors, _ = answers(200, seed=4)
    inliers = np.where(errors <= 25, 30, 2)[:, None]
    odds = np.stack([np.where(errors <= 25, 2.0, -1.0), features[:, 0] - 0.65], axis=1)
    for of, one in {"near": features, "reranked": np.concatenate([features, inliers], axis=1), "walks": odds}.items():
        calibration = Calibration.fit(one, errors, of=of)
        assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration
        assert calibration_error(calibration.probability(one), errors <= 25) < 0.1
        # Earlier versions did not write which kind it is of.
        old = {name: value for name, value in calibration.to_json().items() if name != "of"}
        if of == "reranked":
            assert Calibration.from_json(old) == calibration
    with pytest.raises(ValueError, match="`of` must be one of photos, near, reranked, walks"):
        Calibration.fit(features, errors, of="dreams")


def test_answers_far_from_those_it_was_fitted_on_are_sure_or_hopeless() -> None:
    features, errors, _ = answers(200, seed=5)
    calibration = Calibration.fit(features, errors)
    far = np.array([[1e6, 1.0, 1.0], [-1e6, 1e-9, 0.0]])
    np.testing.assert_array_equal(calibration.probability(far), [1.0, 0.0])


def test_what_nothing_can_be_learned_from_is_refused() -> None:
    features, errors, _ = answers(200, seed=3)
    for few, wrong in ((49, errors), (200, np.full(200, 1e3)), (200, np.zeros(200))):
        with pytest.raises(ValueError, match="right and wrong answers of at least 50 photos"):
            Calibration.fit(features[:few], wrong[:few])
    with pytest.raises(ValueError, match="`errors` must be finite"):
        Calibration.fit(features, np.full(200, np.inf))
    with pytest.raises(ValueError, match="`precision` must be above 0"):
        Calibration.fit(features, errors).threshold(0)
    with pytest.raises(ValueError, match=r"`features` must be \[Q, 3\] of photos"):
        Calibration.fit(features, errors).probability(features[:, :2])


def test_a_reliability_diagram_sets_what_was_said_beside_what_was_so() -> None:
    table = reliability([0.05, 0.92, 0.94, 1.0], [0, 1, 0, 1], bins=10)
    np.testing.assert_allclose(table, [[0.05, 0, 0.25], [(0.92 + 0.94 + 1) / 3, 2 / 3, 0.75]])
    np.testing.assert_allclose(
        calibration_error([0.05, 0.92, 0.94, 1.0], [0, 1, 0, 1]), 0.25 * 0.05 + (2.86 - 2) / 3 * 0.75
    )
