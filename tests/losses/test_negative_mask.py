"""Tuples of which some negatives do not count."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.losses import SARELoss, TupleLoss, contrastive, sare, triplet

MASK = np.array([[1, 0, 1, 0]] * 4)
LABELS = {"none": None, "rank 1": np.zeros(4), "ones": np.ones((4, 3)), "halves": np.full((4, 3), 0.5)}


@pytest.fixture
def loss(make: Callable[..., TupleLoss]) -> TupleLoss:
    return make()


def test_a_masked_negative_is_as_if_it_were_not_there_whatever_it_holds(
    loss: TupleLoss, unit_tuples: Callable, value_and_gradient: Callable
) -> None:
    kept = [0, 1, 2, 4]
    shorter_value, shorter_gradient = value_and_gradient(loss, unit_tuples(negatives=4)[:, kept])
    for held in ("an image", 0.0, np.nan, np.inf):
        x = unit_tuples(negatives=4)
        case = f"it holds {held}"
        if held != "an image":
            x[:, [3, 5]] = held
        value, gradient = value_and_gradient(loss, x, MASK)
        np.testing.assert_allclose(value, shorter_value, rtol=1e-12, err_msg=case)
        np.testing.assert_allclose(gradient[:, kept], shorter_gradient, rtol=1e-12, atol=1e-15, err_msg=case)
        assert (gradient[:, [3, 5]] == 0).all(), case


def test_with_the_scale_divide_by_negatives_masked_negatives_still_divide(
    make: Callable[..., TupleLoss], unit_tuples: Callable, value_and_gradient: Callable
) -> None:
    x = unit_tuples(negatives=4)
    value, gradient = value_and_gradient(make(scale="divide_by_negatives"), x, MASK)
    kept = [0, 1, 2, 4]
    shorter_value, shorter_gradient = value_and_gradient(make(scale="divide_by_negatives"), x[:, kept])
    # Two of four count: the shorter tuple divides by 2, the masked one by 4.
    np.testing.assert_allclose(value, shorter_value / 2, rtol=1e-12)
    np.testing.assert_allclose(gradient[:, kept], shorter_gradient / 2, rtol=1e-12, atol=1e-15)


def test_each_tuple_has_its_own_mask(
    make: Callable[..., TupleLoss], unit_tuples: Callable, value_and_gradient: Callable
) -> None:
    x = unit_tuples(batch=4)
    mask = np.array([[1, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1]])
    for scale in ("tuple", "divide_by_negatives"):
        loss = make(scale=scale)
        value, gradient = value_and_gradient(loss, x, mask)
        alone = [value_and_gradient(loss, x[i : i + 1], mask[i : i + 1]) for i in range(4)]
        np.testing.assert_allclose(value, [v[0] for v, _ in alone], rtol=1e-12, err_msg=scale)
        np.testing.assert_allclose(gradient, [g[0] for _, g in alone], rtol=1e-12, atol=1e-15, err_msg=scale)
        np.testing.assert_allclose(value[0], value_and_gradient(loss, x[:1])[0][0], rtol=1e-12, err_msg=scale)


def test_a_tuple_without_negatives_depends_on_query_and_positive_alone(
    loss: TupleLoss, unit_tuples: Callable, value_and_gradient: Callable
) -> None:
    for dtype in ("float32", "float64"):
        x = unit_tuples().astype(dtype)
        others = np.concatenate([x[:, :2], -x[:, 2:]], axis=1)
        value, gradient = value_and_gradient(loss, x, np.zeros((4, 3)))
        assert (gradient[:, 2:] == 0).all(), dtype
        for one, other in zip((value, gradient), value_and_gradient(loss, others, np.zeros((4, 3))), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=dtype)
        # It costs nothing, or its positive is pulled in.
        costs_nothing = (value == 0).all() and (gradient == 0).all()
        assert (gradient[:, :2] != 0).any(axis=-1).all() or costs_nothing, dtype


def test_all_count_without_a_mask_or_where_it_is_nonzero(loss: TupleLoss, unit_tuples: Callable) -> None:
    x = tf.constant(unit_tuples())
    for name, labels in LABELS.items():
        given = None if labels is None else tf.constant(labels)
        np.testing.assert_allclose(loss.call(given, x), loss.call(None, x), rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("function", [sare, contrastive, triplet])
def test_the_functions_take_a_mask_and_bear_nan_under_it(function: Callable) -> None:
    positives = tf.constant([0.5, 0.4])
    negatives = tf.constant([[0.45, np.nan], [np.nan, 0.3]])
    with tf.GradientTape() as tape:
        tape.watch((positives, negatives))
        values = function(positives, negatives, mask=np.array([[1, 0], [0, 1]]))
    np.testing.assert_allclose(values, function(positives, tf.constant([[0.45], [0.3]])), rtol=1e-6)
    by_positive, by_negative = (g.numpy() for g in tape.gradient(values, (positives, negatives)))
    assert (by_positive > 0).all()
    assert (by_negative[[0, 1], [1, 0]] == 0).all()
    assert (by_negative[[0, 1], [0, 1]] < 0).all()


@pytest.mark.parametrize("negatives", [1, 3])
@pytest.mark.parametrize("dtype", ["bool", "int32", "float32"])
def test_keras_passes_the_mask_from_fit_and_from_a_direct_call(
    negatives: int, dtype: str, unit_tuples: Callable
) -> None:
    x = unit_tuples(negatives=negatives).astype("float32")
    mask = np.ones((4, negatives), dtype)
    mask[1, 0] = mask[3, 0] = 0
    expected = SARELoss().call(tf.constant(mask), tf.constant(x)).numpy()
    assert (expected[[1, 3]] == 0).all() == (negatives == 1)
    assert float(SARELoss()(mask, x)) == pytest.approx(expected.mean(), rel=1e-6)

    model = keras.Sequential([keras.Input((2 + negatives, 5)), keras.layers.Identity()])
    model.compile(loss=SARELoss())
    assert model.evaluate(x, mask, verbose=0) == pytest.approx(expected.mean(), rel=1e-6)


def test_a_model_learns_from_tuples_with_fewer_negatives(unit_tuples: Callable) -> None:
    x = unit_tuples(batch=4).astype("float32")
    mask = np.array([[1, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1]])
    model = keras.Sequential([keras.Input((None, 5)), keras.layers.Dense(4)])
    model.compile(optimizer=keras.optimizers.SGD(0.05), loss=SARELoss(mode="joint"))
    history = model.fit(x, mask, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_the_mask_may_have_an_unknown_width_when_traced(loss: TupleLoss, unit_tuples: Callable) -> None:
    signature = [tf.TensorSpec([None, None]), tf.TensorSpec([None, None, 5])]
    traced = tf.function(loss.call, input_signature=signature, autograph=False)
    x = tf.constant(unit_tuples(negatives=4), tf.float32)
    mask = tf.constant(MASK, tf.float32)
    np.testing.assert_allclose(traced(mask, x), loss.call(mask, x), rtol=1e-5, atol=1e-7)


def test_a_mask_of_another_shape_is_refused(loss: TupleLoss, unit_tuples: Callable) -> None:
    for shape in ((4, 1), (4, 2), (4, 5), (4, 3, 1)):
        message = r"`y_true` must .*\[batch, negatives\].* Received: y_true.shape=\(" + ", ".join(map(str, shape))
        with pytest.raises(ValueError, match=message + r"\) with 3 negatives"):
            loss(np.ones(shape), unit_tuples())


def test_mask_of_keras_on_the_embeddings_is_refused():
    """With as many tuples as embeddings in each it would be multiplied with the wrong things in silence."""
    embeddings = keras.layers.Masking()(np.ones((5, 5, 4), "float32"))
    with pytest.raises(ValueError, match=r"`y_pred` must not carry a mask of Keras.*of shape \(5, 5\)"):
        SARELoss()(np.zeros(5), embeddings)
