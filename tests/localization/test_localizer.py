"""Answers of an index whose photos of one place look alike: positions, probabilities, priors."""

from pathlib import Path

import numpy as np
import pytest

from keras_sare.datasets import earth_centred
from keras_sare.localization import (
    DescriptorLocalizer,
    IndexRecord,
    PlaceIndex,
    PlaceRows,
    Prior,
    box_around,
    calibration_error,
    rough_position,
)

pytest.importorskip("lancedb")

DIM = 32
PLACES = 40
GENERATOR = np.random.default_rng(0)
LOOKS = GENERATOR.normal(size=(PLACES, DIM))
LOOKS[1] = LOOKS[0]  # Two places that look alike.
METRES = np.stack([np.arange(PLACES) * 200.0, np.zeros(PLACES)], axis=1)
DEGREES = np.stack([np.linspace(51.5, 51.6, PLACES), np.linspace(-0.1, 0.1, PLACES)], axis=1)


def photos(places: np.ndarray, noise: np.ndarray | float, seed: int) -> np.ndarray:
    descriptors = LOOKS[places] + noise * np.random.default_rng(seed).normal(size=(len(places), DIM))
    return np.asarray(descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True))


@pytest.fixture(params=["metres", "degrees"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> PlaceIndex:
    places = np.arange(PLACES).repeat(4)
    centres = METRES if request.param == "metres" else DEGREES
    step = 5.0 if request.param == "metres" else 5e-5
    positions = centres[places] + np.random.default_rng(1).uniform(-step, step, (len(places), 2))
    rows = PlaceRows([f"{i}.jpg" for i in range(len(places))], photos(places, 0.3, seed=2), positions)
    return PlaceIndex.create(tmp_path / "index", IndexRecord("m", "m", DIM, request.param), [rows])


def truth(index: PlaceIndex, places: np.ndarray) -> np.ndarray:
    return (METRES if index.record.kind == "metres" else DEGREES)[places]


def test_photos_are_found_at_their_places_and_errors_are_metres(index: PlaceIndex) -> None:
    places = np.arange(2, PLACES)
    localizer = DescriptorLocalizer(index)
    answers = localizer.locate(photos(places, 0.3, seed=3))
    errors = localizer.errors(answers.positions, truth(index, places))
    assert (errors < 25).mean() > 0.9
    assert len(answers) == len(places)
    assert answers.known.all()
    assert np.isnan(answers.probability).all()
    if index.record.kind == "degrees":
        apart = np.linalg.norm(earth_centred(*answers.positions.T) - earth_centred(*truth(index, places).T), axis=1)
        np.testing.assert_allclose(errors, apart, atol=1e-6)


def test_a_rough_position_tells_places_apart_that_look_alike(index: PlaceIndex) -> None:
    query = photos(np.array([0, 1]), 0.1, seed=4)
    for place in (0, 1):
        answers = DescriptorLocalizer(index).locate(query, Prior(near=truth(index, np.array(place)), within=80))
        errors = DescriptorLocalizer(index).errors(answers.positions, truth(index, np.array([place, place])))
        assert (errors < 25).all()
    nowhere = DescriptorLocalizer(index).locate(
        query, Prior(near=np.array([10.0, 10.0]) - truth(index, np.array(39)), within=1)
    )
    assert not nowhere.known.any()
    assert np.isnan(nowhere.positions).all()


def test_an_unsure_answer_says_that_it_does_not_know(index: PlaceIndex) -> None:
    generator = np.random.default_rng(5)
    places = generator.integers(0, PLACES, 800)
    mixed = np.concatenate([photos(places[:400], 0.8, seed=6), photos(places[400:], 1.6, seed=7)])
    half = generator.permutation(800) < 400
    localizer = DescriptorLocalizer(index)
    index.calibrate(localizer.calibrate(mixed[half], truth(index, places[half])))
    again = PlaceIndex(index.folder)
    assert again.record.calibration == index.record.calibration
    answers = DescriptorLocalizer(again, precision=0.95).locate(mixed[~half])
    right = localizer.errors(answers.positions, truth(index, places[~half])) <= 25
    assert right[answers.known].mean() > 0.9
    assert right[answers.known].mean() > right[~answers.known].mean() + 0.2
    assert 0.1 < answers.known.mean() < 0.9
    assert (DescriptorLocalizer(again, precision=0.5).locate(mixed[~half]).known >= answers.known).all()
    assert abs(answers.probability.mean() - right.mean()) < 0.1
    # What is said does not hang on how many candidates are wanted.
    for k in (1, 5, 60):
        others = DescriptorLocalizer(again, k=k, precision=0.95).locate(mixed[~half][:40])
        assert others.candidates.names.shape == (40, k)
        for name in ("positions", "probability", "uncertainty", "known", "similarity"):
            np.testing.assert_allclose(getattr(others, name), getattr(answers, name)[:40], err_msg=name)
    with pytest.raises(ValueError, match="for each of the `descriptors`"):
        localizer.calibrate(mixed, truth(index, places[half]))


def mixed(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of 80 photos, half of them hard to tell, and their descriptors."""
    places = np.random.default_rng(seed).integers(0, PLACES, 80)
    return places, photos(places, np.resize([0.8, 2.4], (80, 1)), seed + 1)


@pytest.mark.parametrize("index", ["degrees"], indirect=True)
def test_answers_near_a_rough_position_are_as_sure_as_photos_near_others_say(index: PlaceIndex) -> None:
    places, descriptors = mixed(20)
    localizer = DescriptorLocalizer(index)
    index.calibrate(localizer.calibrate(descriptors, truth(index, places)))
    others, asked = mixed(30)
    prior = rough_position(truth(index, others), 200.0, index.record.kind, seed=5)
    before = DescriptorLocalizer(index).locate(asked[:8], prior.of(np.arange(8)))
    assert np.isnan(before.probability).all()
    assert not before.known.any()
    assert np.isfinite(before.positions).all(axis=1).mean() > 0.8
    index.calibrate(localizer.calibrate_near(descriptors, truth(index, places)))
    assert PlaceIndex(index.folder).record == index.record
    localizer = DescriptorLocalizer(index, precision=0.8)
    answers = localizer.locate(asked, prior)
    there = np.isfinite(answers.positions).all(axis=1)
    np.testing.assert_array_equal(np.isfinite(answers.probability), there)
    right = localizer.errors(answers.positions, truth(index, others)) <= 25
    assert calibration_error(answers.probability[there], right[there]) < 0.15
    # Of photos whose position is not known it is that of photos alone; of a time of day nothing is known.
    near = np.where(np.arange(8)[:, None] % 2, prior.near[:8], np.nan)
    some = localizer.locate(asked[:8], Prior(near=near, within=prior.within))
    alone = localizer.locate(asked[:8])
    np.testing.assert_allclose(some.probability[::2], alone.probability[::2])
    np.testing.assert_allclose(some.probability[1::2], answers.probability[1:8:2])
    night = localizer.locate(asked[:8], Prior(time_of_day="23:00"))
    assert np.isnan(night.probability).all()
    assert not night.known.any()


def test_rough_positions_are_as_far_away_as_they_say(index: PlaceIndex) -> None:
    places = np.arange(PLACES).repeat(50)
    prior = rough_position(truth(index, places), 200.0, index.record.kind)
    apart = DescriptorLocalizer(index).errors(prior.near, truth(index, places))
    # Of two normal errors with a deviation of 100 m the distance has a median of 117.7 m (Rayleigh).
    assert 110 < np.median(apart) < 126
    away = np.sign(prior.near - truth(index, places)).mean(axis=0)
    np.testing.assert_allclose(away, 0, atol=0.1)


def test_a_box_holds_all_within_the_distance_wherever_on_the_globe() -> None:
    np.testing.assert_array_equal(box_around([100, 200], 30, "metres"), [[70, 130], [170, 230]])
    generator = np.random.default_rng(8)
    north = np.linspace([-0.02, 0], [0.02, 0], 4001)
    for near in ([51.5, -0.1], [-89.9, 20.0], [10.0, 179.999], [0.0, 0.0], [78.2, 15.6]):
        box = box_around(near, 1000, "degrees")
        around = near + np.concatenate([generator.uniform(-1, 1, (2000, 2)) * [0.02, 0.2], north])
        around = around[(np.abs(around) <= [90, 180]).all(axis=1)]
        apart = np.linalg.norm(earth_centred(*around.T) - earth_centred(*np.array([near]).T), axis=1)
        inside = ((around >= box[:, 0]) & (around <= box[:, 1])).all(axis=1)
        assert inside[apart <= 1000].all()
        assert (apart <= 1000).any()


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    for near, within, message in (([1, np.nan], 10, "`near` must be"), ([1, 2], 0, "`within` must be")):
        with pytest.raises(ValueError, match=message):
            box_around(near, within, "metres")
    with pytest.raises(ValueError, match="`latitude` must be degrees"):
        box_around([91, 0], 10, "degrees")
    rows = PlaceRows(["a"], photos(np.array([0]), 0, 0), METRES[:1])
    index = PlaceIndex.create(tmp_path / "index", IndexRecord("m", "m", DIM), [rows])
    east = PlaceRows(["a"], photos(np.array([0]), 0, 0), np.array([[151.2, -33.9]]))
    with pytest.raises(ValueError, match=r"are they swapped\? Received: \[151.2, -33.9\] of 'a'"):
        PlaceIndex.create(tmp_path / "east", IndexRecord("m", "m", DIM, "degrees"), [east])
    assert not (tmp_path / "east").exists()
    with pytest.raises(ValueError, match="`k` must be positive"):
        DescriptorLocalizer(index, k=0)
