import dataclasses
import runpy
from pathlib import Path

import numpy as np
import pytest

from export.fidelity.fidelity import Fidelity, Requirements
from export.fidelity.photos import FidelityPhotos
from keras_sare.datasets import ImageSet, PlaceDataset

KERAS = runpy.run_path(str(Path(__file__).parents[2] / "data" / "fidelity_rows.py"))["KERAS"]
ROW = dataclasses.replace(
    KERAS,
    artefact="tflite/small.tflite",
    kind="tflite",
    data="town_test, 594 images",
    cosine_min=0.9949996,
    cosine_median=0.9981,
    recalls=(0.52, 0.68, 0.78),
    latency_8=None,
)
WITHOUT_RECALL = dataclasses.replace(ROW, ns=(), recalls=(), keras_recalls=())


def photos(places):
    side = ImageSet(np.array(["a.jpg"]), np.zeros((1, 2)))
    return FidelityPhotos(side.paths, "some photos", PlaceDataset("town", side, side) if places else None)


def test_json_gives_the_same_row_back():
    for row in (ROW, WITHOUT_RECALL):
        assert Fidelity.from_json(row.to_json()) == row


def test_drop_is_in_points_of_recall_at_1_and_without_rounding_errors():
    assert ROW.recall_drop == 0.5
    assert dataclasses.replace(ROW, recalls=(0.53, 0.7, 0.8)).recall_drop == -0.5
    assert WITHOUT_RECALL.recall_drop is None


@pytest.mark.parametrize("changes", [{"data": "others"}, {"threads": 1}, {"image_size": (24, 32)}, {"images": 1}])
def test_rows_measured_otherwise_are_not_comparable(changes):
    assert not dataclasses.replace(ROW, **changes).is_comparable(ROW)
    assert dataclasses.replace(ROW, artefact="other", latency_1=1.0, recalls=(1.0, 1.0, 1.0)).is_comparable(ROW)


@pytest.mark.parametrize(
    "requirements",
    [Requirements(), Requirements(cosine=0.9949996), Requirements(recall_drop=0.5), Requirements(0.99, 0.6)],
)
def test_row_that_meets_the_requirements_passes(requirements):
    requirements.check(ROW)


def test_rounding_of_float32_does_not_fail_an_exact_artefact():
    Requirements(cosine=1).check(dataclasses.replace(ROW, cosine_min=0.9999999))
    Requirements(cosine=0.995).check(ROW)
    with pytest.raises(ValueError, match="Received: cosine=0.999998, 0.000002 too low"):
        Requirements(cosine=1).check(dataclasses.replace(ROW, cosine_min=0.9999985))


def test_too_small_a_cosine_is_refused_with_what_is_missing():
    with pytest.raises(ValueError) as caught:
        Requirements(cosine=0.9951).check(ROW)
    assert str(caught.value) == (
        "'tflite/small.tflite' falls short of what the export requires: `cosine` must be at least 0.9951 for each of "
        "the 594 images (town_test, 594 images). Received: cosine=0.994999, 0.000101 too low"
    )


def test_too_large_a_drop_is_refused_with_how_much_too_large():
    with pytest.raises(ValueError) as caught:
        Requirements(cosine=0.9, recall_drop=0.4).check(ROW)
    assert str(caught.value) == (
        "'tflite/small.tflite' falls short of what the export requires: `recall_drop` must be at most 0.4 points of "
        "recall@1 (town_test, 594 images). Received: recall_drop=0.50 (from 52.50 to 52.00), 0.10 points too many"
    )


def test_both_shortcomings_are_told():
    with pytest.raises(
        ValueError, match=r"`cosine` must be at least 0.999 .* too low; `recall_drop` must be at most 0 "
    ):
        Requirements(0.999, 0).check(ROW)


def test_row_without_recall_does_not_meet_a_required_drop():
    with pytest.raises(ValueError, match="`recall_drop` needs a dataset of places, and no recall was measured"):
        Requirements(recall_drop=1).check(WITHOUT_RECALL)


@pytest.mark.parametrize(("given", "received"), [(photos(False), "'some photos'"), (None, "'rendered pictures'")])
def test_required_drop_without_places_is_refused_before_anything_is_measured(given, received):
    with pytest.raises(ValueError, match=f"name a dataset of places, .*recall_drop=0.5, photos={received}"):
        Requirements(recall_drop=0.5).check_photos(given)
    Requirements(cosine=0.9).check_photos(given)
    Requirements(recall_drop=0.5).check_photos(photos(True))


@pytest.mark.parametrize(
    ("demands", "message"),
    [
        ({"cosine": 1.1}, "`cosine` must lie between -1 and 1.*cosine=1.1"),
        ({"cosine": float("nan")}, "`cosine` must lie between -1 and 1.*cosine=nan"),
        ({"recall_drop": -1}, "`recall_drop` must be points of recall@1, 0 to 100.*recall_drop=-1"),
    ],
)
def test_demands_out_of_range_are_refused(demands, message):
    with pytest.raises(ValueError, match=message):
        Requirements(**demands)
