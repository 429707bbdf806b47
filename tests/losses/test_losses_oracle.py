"""Our losses against the public PyTorch projects; data/make_losses_oracle.py says how their numbers were made."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from keras_sare.losses import ContrastiveLoss, InfoNCELoss, MultiSimilarityLoss, SARELoss, TripletLoss, TupleLoss

EXACT = 1e-12
# PyTorch's triplet_margin_loss and cirtorch's contrastive loss add 1e-6 to every coordinate of a difference.
SHIFTED = 1e-5

OURS: dict[str, tuple[TupleLoss, float]] = {
    "openibl_triplet": (TripletLoss(0.1**0.5, squared=False, scale="divide_by_negatives", dtype="float64"), SHIFTED),
    "openibl_sare_ind": (SARELoss(dtype="float64"), EXACT),
    "openibl_sare_joint": (SARELoss(mode="joint", dtype="float64"), EXACT),
    "sfrs_sare_ind": (SARELoss(temperature=0.14, dtype="float64"), EXACT),
    "sfrs_sare_joint": (SARELoss(mode="joint", temperature=0.14, dtype="float64"), EXACT),
    "vgb_sare_ind": (SARELoss(scale="divide_by_negatives", dtype="float64"), EXACT),
    "vgb_sare_joint": (SARELoss(mode="joint", scale="divide_by_negatives", dtype="float64"), EXACT),
    "cirtorch_contrastive": (ContrastiveLoss(0.7, reduction="sum", dtype="float64"), SHIFTED),
    "cirtorch_triplet": (TripletLoss(0.1, reduction="sum", dtype="float64"), EXACT),
    "pml_multi_similarity": (MultiSimilarityLoss(dtype="float64"), EXACT),
    "pml_ntxent": (InfoNCELoss(dtype="float64"), EXACT),
}


@pytest.fixture(scope="module")
def oracle() -> dict[str, Any]:
    return json.loads((Path(__file__).parents[1] / "data" / "losses_oracle.json").read_text())


@pytest.fixture(scope="module")
def rows(oracle: dict[str, Any]) -> np.ndarray:
    """The rows of the oracle, not yet normalised, [batch, 2 + negatives, dim]."""
    batch = oracle["batch"]
    negatives = oracle["negatives"]
    dim = oracle["dim"]
    random = np.random.RandomState(oracle["seed"])
    return random.normal(size=(batch, 1, dim)) + 0.5 * random.normal(size=(batch, 2 + negatives, dim))


def test_every_loss_of_the_oracle_is_compared(oracle: dict[str, Any]) -> None:
    assert set(oracle["losses"]) == set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_value_and_gradient_agree(oracle: dict[str, Any], rows: np.ndarray, name: str) -> None:
    loss, tolerance = OURS[name]
    x = tf.constant(rows)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(tf.zeros(len(rows)), tf.math.l2_normalize(x, axis=-1, epsilon=0.0))
    theirs = oracle["losses"][name]
    assert float(value) == pytest.approx(theirs["value"], rel=tolerance)
    gradient = np.array(theirs["gradient"])
    assert np.abs(tape.gradient(value, x) - gradient).max() <= tolerance * np.abs(gradient).max()
