"""How right answers are: against the evaluator's recall, and against numbers counted one by one."""

import json
from pathlib import Path

import numpy as np
import pytest

from keras_sare.evaluation.recall import recall_at
from keras_sare.localization import DescriptorLocalizer, IndexRecord, PlaceIndex, PlaceRows, calibration_error
from keras_sare.localization.accuracy import NS, Accuracy

pytest.importorskip("lancedb")

DIM = 16
PLACES = 60
POSITIONS = np.random.default_rng(0).uniform(0, 600, (PLACES, 2))
LOOKS = np.random.default_rng(1).normal(size=(PLACES, DIM))


def photos(places: np.ndarray, noise: np.ndarray | float, seed: int) -> np.ndarray:
    descriptors = LOOKS[places] + noise * np.random.default_rng(seed).normal(size=(len(places), DIM))
    return np.asarray(descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> PlaceIndex:
    rows = PlaceRows([f"{i}.jpg" for i in range(PLACES)], photos(np.arange(PLACES), 0.2, 2), POSITIONS)
    folder = tmp_path_factory.mktemp("accuracy") / "index"
    return PlaceIndex.create(folder, IndexRecord("m", "m", DIM), [rows])


def asked(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors of photos, most of them of places that can be told, and the truth."""
    generator = np.random.default_rng(seed)
    places = generator.integers(0, PLACES, 400)
    noise = generator.choice([0.3, 1.0, 3.0], (400, 1))
    return photos(places, noise, seed + 1), POSITIONS[places] + generator.normal(0, 3, (400, 2))


def test_recall_is_the_evaluators_and_errors_are_metres(index: PlaceIndex) -> None:
    descriptors, truth = asked(3)
    localizer = DescriptorLocalizer(index)
    accuracy = Accuracy.of(localizer, localizer.locate(descriptors), truth)
    stored = photos(np.arange(PLACES), 0.2, 2).astype(np.float16).astype(np.float64)
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    matches = np.argsort(-descriptors @ stored.T, axis=1)[:, : NS[-1]]
    positives = [np.flatnonzero(np.linalg.norm(POSITIONS - place, axis=1) <= 25) for place in truth]
    measures = accuracy.measures()
    recalls = recall_at(matches, positives, NS)
    np.testing.assert_allclose([measures[f"recall@{n}"].value for n in NS], recalls)
    assert 0.4 < recalls[0] < recalls[-1] < 1
    errors = np.linalg.norm(accuracy.answers.positions - truth, axis=1)
    np.testing.assert_allclose(accuracy.errors, errors)
    assert measures["answers within 25 m"].value == (errors <= 25).mean()
    assert measures["median error, m"].value == np.median(errors)
    assert "known" not in measures


def test_what_is_said_of_a_calibrated_index_is_counted(index: PlaceIndex, tmp_path: Path) -> None:
    calibration = DescriptorLocalizer(index).calibrate(*asked(5))
    index.calibrate(calibration)
    localizer = DescriptorLocalizer(index, precision=0.8)
    descriptors, truth = asked(7)
    answers = localizer.locate(descriptors)
    accuracy = Accuracy.of(localizer, answers, truth)
    table = accuracy.write(tmp_path / "accuracy.json")
    found = json.loads((tmp_path / "accuracy.json").read_text())["measures"]
    right = accuracy.errors <= 25
    counted = {
        "known": answers.known.mean(),
        "right among the known": right[answers.known].mean(),
        "expected calibration error": calibration_error(answers.probability, right),
        "within the stated uncertainty": (accuracy.errors <= answers.uncertainty).mean(),
    }
    for name, value in counted.items():
        np.testing.assert_allclose(found[name]["value"], value)
        assert found[name]["low"] <= value <= found[name]["high"]
        assert f"| {name} | {value:.3f} (" in table
    assert 0.3 < counted["known"] < 0.9 < counted["right among the known"] + 0.15


def test_truth_of_other_photos_is_refused(index: PlaceIndex) -> None:
    localizer = DescriptorLocalizer(index)
    with pytest.raises(ValueError, match=r"`truth` must be \[3, 2\]"):
        Accuracy.of(localizer, localizer.locate(asked(9)[0][:3]), POSITIONS[:2])
