"""Our losses against TensorFlow Addons; data/make_tfa_oracle.py says how its numbers were made and what they mean."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import ops

from keras_sare.losses import ContrastiveLoss, SARELoss, TupleLoss

# Both sides round in float32.
TOLERANCE = {"rtol": 2e-6, "atol": 1e-6}


class Distances(TupleLoss):
    def from_distances(self, positive_distances: Any, negative_distances: Any, mask: Any = None) -> Any:
        return ops.concatenate([positive_distances[:, None], negative_distances], axis=1)


@pytest.fixture(scope="module")
def oracle() -> dict[str, Any]:
    content = json.loads((Path(__file__).parents[1] / "data" / "tfa_oracle.json").read_text())
    return {name: np.array(value, "float32") if isinstance(value, list) else value for name, value in content.items()}


@pytest.fixture
def rows(oracle: dict[str, Any]) -> np.ndarray:
    """[10, 10]: in row i the indices of a tuple of all embeddings: i, the other view of its place, the rest."""
    count = len(oracle["embeddings"])
    return np.array([[i, i ^ 1, *(j for j in range(count) if j not in (i, i ^ 1))] for i in range(count)])


@pytest.fixture
def hardest(oracle: dict[str, Any], rows: np.ndarray) -> np.ndarray:
    """[10, 3, dim]: each embedding, the other view of its place, the nearest embedding of another place."""
    order = np.argsort(np.take_along_axis(oracle["squared_distances"], rows[:, 2:], axis=1), axis=1)
    nearest = np.take_along_axis(rows[:, 2:], order[:, :1], axis=1)
    return oracle["embeddings"][np.concatenate([rows[:, :2], nearest], axis=1)]


def test_squared_distances_agree(oracle: dict[str, Any], rows: np.ndarray) -> None:
    ours = Distances(reduction=None)(np.zeros(10), oracle["embeddings"][rows])
    np.testing.assert_allclose(ours, np.take_along_axis(oracle["squared_distances"], rows[:, 1:], axis=1), **TOLERANCE)


def test_contrastive_agrees(oracle: dict[str, Any], rows: np.ndarray) -> None:
    ours = ContrastiveLoss(margin=oracle["margin"], reduction=None)(np.zeros(10), oracle["embeddings"][rows])
    theirs = 0.5 * np.take_along_axis(oracle["contrastive"], rows[:, 1:], axis=1).sum(axis=1)
    np.testing.assert_allclose(ours, theirs, **TOLERANCE)


@pytest.mark.parametrize(("kernel", "name"), [("gaussian", "soft_triplet_squared"), ("exponential", "soft_triplet")])
@pytest.mark.parametrize("mode", ["independent", "joint"])
def test_sare_with_one_negative_agrees_with_the_soft_triplet_loss(
    oracle: dict[str, Any], hardest: np.ndarray, kernel: str, name: str, mode: str
) -> None:
    np.testing.assert_allclose(SARELoss(kernel, mode)(np.zeros(10), hardest), oracle[name], **TOLERANCE)


def test_joint_gaussian_sare_agrees_with_the_n_pairs_loss(oracle: dict[str, Any]) -> None:
    queries = oracle["embeddings"][::2]
    views = oracle["embeddings"][1::2]
    tuples = np.stack([[queries[i], views[i], *np.delete(views, i, axis=0)] for i in range(5)])
    np.testing.assert_allclose(SARELoss("gaussian", "joint")(np.zeros(5), tuples), oracle["n_pairs"], **TOLERANCE)
