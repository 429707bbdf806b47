"""Batches of places: the same as tuples written out one by one."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.losses import InfoNCELoss, PlaceBatchLoss, TupleLoss


def _places(places: int = 3, images: int = 4, dim: int = 5, seed: int = 1) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(places, images, dim))
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _written_out(x: np.ndarray) -> np.ndarray:
    """[places, images (images - 1), 2 + negatives, dim]."""
    places, images, _ = x.shape
    return np.array(
        [
            [
                [x[p, q], x[p, k], *x[np.arange(places) != p].reshape(-1, x.shape[-1])]
                for q in range(images)
                for k in range(images)
                if k != q
            ]
            for p in range(places)
        ]
    )


def test_each_image_is_a_query_with_every_positive_and_all_images_of_other_places(
    make: Callable[..., TupleLoss], value_and_gradient: Callable
) -> None:
    x = _places()
    loss = PlaceBatchLoss(make(dtype="float64"), dtype="float64")
    value, gradient = value_and_gradient(loss, x)
    variable = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        flat = tf.reshape(variable, (-1, x.shape[-1]))
        numbers = np.arange(12).reshape(3, 4)
        rows = _written_out(numbers[..., None])[..., 0]
        tuples = tf.reshape(tf.gather(flat, rows), (-1, *rows.shape[2:], x.shape[-1]))
        expected = tf.reduce_mean(tf.reshape(make(dtype="float64").call(None, tuples), rows.shape[:2]), axis=1)
    np.testing.assert_allclose(value, expected.numpy(), rtol=1e-9)
    np.testing.assert_allclose(gradient, tape.gradient(expected, variable).numpy(), rtol=1e-6, atol=1e-9)


def test_a_photo_twice_in_a_place_has_a_finite_gradient(
    make: Callable[..., TupleLoss], value_and_gradient: Callable
) -> None:
    x = _places().astype("float32")
    x[1, 2] = x[1, 0]
    value, gradient = value_and_gradient(PlaceBatchLoss(make()), x)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


def test_number_of_places_may_be_unknown_when_traced() -> None:
    loss = PlaceBatchLoss(InfoNCELoss())
    signature = [tf.TensorSpec((None, 4, 5))]
    traced = tf.function(lambda x: loss.call(None, x), input_signature=signature, autograph=False)
    for places in (2, 3):
        x = tf.constant(_places(places), tf.float32)
        np.testing.assert_allclose(traced(x), loss.call(None, x), rtol=1e-6)


def test_round_trip_keeps_the_loss_inside() -> None:
    loss = PlaceBatchLoss(InfoNCELoss(temperature=0.2))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.loss.temperature == 0.2
    assert again.get_config() == loss.get_config()


@pytest.mark.parametrize("shape", [(3, 1, 5), (1, 4, 5), (3, 5), (3, 4, 2, 5)])
def test_what_is_no_batch_of_places_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"`y_pred` must hold embeddings of shape \[places, images, dim\]"):
        PlaceBatchLoss(InfoNCELoss()).call(None, tf.zeros(shape))
