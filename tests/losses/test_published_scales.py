"""Gradients of whole batches against the originals' formulas, written out, and against literal numbers."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sare.losses import ContrastiveLoss, SARELoss, TripletLoss, TupleLoss

TUPLES = 4
NEGATIVES = 10
FAR = 1.5
NEAR = 0.4


def batch_gradient(loss: TupleLoss, x: np.ndarray) -> np.ndarray:
    embeddings = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        value = loss(np.zeros(len(x)), embeddings)
    return tape.gradient(value, embeddings).numpy()


def axes(squared: np.ndarray) -> np.ndarray:
    """Tuples whose query is 0 and whose images lie on axes of their own, at given squared distances [batch, images]."""
    x = np.zeros((len(squared), squared.shape[1] + 1, squared.shape[1]))
    for t, row in zip(x, squared, strict=True):
        t[1:] = np.diag(np.sqrt(row))
    return x


def with_violators(count: int) -> np.ndarray:
    """Positives at 0.5, the first `count` of 40 negatives at 0.4, the others at 1.5: the margin is 0.1."""
    negatives = np.where(np.arange(TUPLES * NEGATIVES) < count, NEAR, FAR).reshape(TUPLES, NEGATIVES)
    return axes(np.concatenate([np.full((TUPLES, 1), 0.5), negatives], axis=1))


def netvlad(x: np.ndarray, margin: float = 0.1) -> np.ndarray:
    """What NetVLAD's `trainWeakly` back-propagates from a batch, divided as there by the violators of the batch."""
    gradient = np.zeros_like(x)
    violators = 0
    for t, g in zip(x, gradient, strict=True):
        for n in range(2, len(t)):
            if np.sum((t[0] - t[n]) ** 2) < np.sum((t[0] - t[1]) ** 2) + margin:
                g[0] += 2 * (t[n] - t[1])
                g[1] += 2 * (t[1] - t[0])
                g[n] += 2 * (t[0] - t[n])
                violators += 1
    return gradient / violators if violators else gradient


def deepibl(x: np.ndarray, joint: bool) -> np.ndarray:
    """What deepIBL's Gaussian kernel back-propagates from a batch, divided as there by the negatives of the batch."""
    gradient = np.zeros_like(x)
    for t, g in zip(x, gradient, strict=True):
        ratios = [np.exp(np.sum((t[0] - t[1]) ** 2) - np.sum((t[0] - other) ** 2)) for other in t[2:]]
        for n, ratio in enumerate(ratios, 2):
            share = ratio / (1 + sum(ratios)) if joint else ratio / (1 + ratio)
            to_positive = -2 * share * (t[0] - t[1])
            to_negative = 2 * share * (t[0] - t[n])
            g[0] -= to_positive + to_negative
            g[1] += to_positive
            g[n] += to_negative
    return gradient / (x.shape[0] * (x.shape[1] - 2))


def cnnimageretrieval(x: np.ndarray, tau: float = 0.7) -> np.ndarray:
    """What its contrastive loss back-propagates from a batch, divided as there by the pairs of the batch."""
    gradient = np.zeros_like(x)
    for t, g in zip(x, gradient, strict=True):
        for n in range(1, len(t)):
            away = t[0] - t[n]
            distance = np.linalg.norm(away)
            along = away if n == 1 else (away * (1 - tau / distance) if distance <= tau else 0 * away)
            g[0] += along
            g[n] -= along
    return gradient / (x.shape[0] * (x.shape[1] - 1))


@pytest.mark.parametrize(
    ("violators", "by_positive", "by_negative"),
    [(40, 0.3535533906, -0.0316227766), (10, 1.4142135624, -0.1264911064), (0, 0.0, 0.0)],
)
def test_triplet_divides_by_the_violators_of_the_batch_as_netvlad_does(violators, by_positive, by_negative):
    x = with_violators(violators)
    loss = TripletLoss(scale="divide_by_violators", dtype="float64")
    gradient = batch_gradient(loss, x)
    np.testing.assert_allclose(gradient, netvlad(x), rtol=1e-12, atol=1e-15)
    assert gradient[0, 1, 0] == pytest.approx(by_positive, abs=1e-9)
    assert gradient[0, 2, 1] == pytest.approx(by_negative, abs=1e-9)
    # The mean over tuples takes a step that is larger by violators / tuples.
    mean = batch_gradient(TripletLoss(dtype="float64"), x)
    np.testing.assert_allclose(mean, gradient * violators / TUPLES, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("margin", [0.05, 0.1, 0.5])
def test_triplet_is_netvlads_on_unit_vectors_of_which_some_violate_the_margin(unit_tuples, margin):
    x = unit_tuples(TUPLES, NEGATIVES)
    gradient = batch_gradient(TripletLoss(margin, scale="divide_by_violators", dtype="float64"), x)
    np.testing.assert_allclose(gradient, netvlad(x, margin), rtol=1e-9, atol=1e-14)
    assert 0 < (gradient[:, 2:] == 0).all(axis=-1).sum() < 40


def test_negatives_that_do_not_count_are_no_violators(unit_tuples):
    x = unit_tuples(TUPLES, NEGATIVES)
    counts = np.arange(TUPLES * NEGATIVES).reshape(TUPLES, NEGATIVES) % 3 > 0
    loss = TripletLoss(scale="divide_by_violators", dtype="float64")
    far = x.copy()
    far[:, 2:][~counts] = 9.0
    np.testing.assert_allclose(float(loss(counts, x)), float(loss(np.zeros(TUPLES), far)), rtol=1e-9)


@pytest.mark.parametrize(("joint", "by_positive"), [(False, 0.1856081717), (True, 0.0324217022)])
def test_sare_divides_by_the_negatives_of_the_batch_as_deepibl_does(unit_tuples, joint, by_positive):
    loss = SARELoss(mode="joint" if joint else "independent", scale="divide_by_negatives", dtype="float64")
    x = unit_tuples(TUPLES, NEGATIVES)
    np.testing.assert_allclose(batch_gradient(loss, x), deepibl(x, joint), rtol=1e-9, atol=1e-14)
    # 10 negatives at 0.4: 20 / 40 x sqrt(0.5) x r / (1 + r), or r / (1 + 10 r), with r = e^(0.5 - 0.4).
    assert batch_gradient(loss, with_violators(40))[0, 1, 0] == pytest.approx(by_positive, abs=1e-9)


def test_losses_divide_by_the_pairs_of_the_batch_as_cnnimageretrieval_does(unit_tuples):
    x = unit_tuples(5, 5) * 0.6
    ours = batch_gradient(ContrastiveLoss(scale="divide_by_pairs", dtype="float64"), x)
    np.testing.assert_allclose(ours, cnnimageretrieval(x), rtol=1e-9, atol=1e-14)
    ours = batch_gradient(TripletLoss(0.3, scale="divide_by_pairs", dtype="float64"), x)
    violators = (netvlad(x, 0.3)[:, 2:] != 0).any(axis=-1).sum()
    np.testing.assert_allclose(ours, netvlad(x, 0.3) * violators / 30, rtol=1e-9, atol=1e-14)


def test_violators_tie_the_tuples_of_a_batch_together_so_that_no_other_reduction_goes():
    with pytest.raises(ValueError, match="`reduction` must be 'sum_over_batch_size'.* Received: reduction='sum'"):
        TripletLoss(scale="divide_by_violators", reduction="sum")
    with pytest.raises(
        ValueError, match="`scale` must be one of .*divide_by_pairs. Received: scale='divide_by_violators'"
    ):
        SARELoss(scale="divide_by_violators")
