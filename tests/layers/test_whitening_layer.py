import keras
import numpy as np
import pytest

from keras_sare.layers import Whitening


def whitening(dim, **kwargs):
    layer = Whitening(dim, **kwargs)
    layer.build((None, 6))
    rng = np.random.default_rng(0)
    layer.set_projection(rng.normal(size=(6, 5)), rng.normal(size=5))
    return layer


def test_projects_and_normalises():
    x = np.random.default_rng(1).normal(size=(3, 6)).astype("float32")
    projection, bias, _ = whitening(5).get_weights()
    expected = x @ projection + bias
    np.testing.assert_allclose(
        whitening(5)(x), expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-5, atol=1e-6
    )


def test_smaller_dimension_is_the_first_columns_normalised_again():
    x = np.random.default_rng(1).normal(size=(3, 6)).astype("float32")
    first = np.array(whitening(5)(x))[:, :2]
    np.testing.assert_allclose(whitening(2)(x), first / np.linalg.norm(first, axis=1, keepdims=True), rtol=1e-5)


def test_fitted_projection_is_never_trained():
    layer = whitening(3)
    layer.trainable = True
    assert layer.trainable_variables == []
    assert len(layer.non_trainable_variables) == 3


def strongly_correlated(rows=400, channels=64):
    """Unit descriptors that are nearly all alike, with variances that fall by powers: x P and b nearly cancel."""
    rng = np.random.default_rng(3)
    x = 1 + 0.02 * rng.normal(size=(rows, channels)) * np.arange(1, channels + 1) ** -1.5
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32").astype("float64")


def test_mean_that_is_subtracted_first_keeps_the_digits_that_cancel():
    x = strongly_correlated()
    mean = x.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(x.T))
    projection = (directions / np.sqrt(variances))[:, ::-1][:, :32]
    exact = (x - mean) @ projection
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)

    def error(*mean):
        layer = Whitening(32)
        layer.build((None, 64))
        layer.set_projection(projection, -x.mean(axis=0) @ projection, *mean)
        return np.abs(layer(x.astype("float32")) - exact).max()

    assert error(mean) < 0.02 * error()
    layer = Whitening(32)
    layer.build((None, 64))
    layer.set_projection(projection, -mean @ projection, mean)
    np.testing.assert_allclose(layer.folded_bias(), -mean @ projection, rtol=1e-4, atol=1e-2)


def test_weights_of_a_half_precision_layer_keep_the_range_of_a_learned_whitening():
    layer = Whitening(2, dtype="float16")
    layer.build((None, 3))
    layer.set_projection(np.full((3, 2), 1e6), np.zeros(2))
    np.testing.assert_allclose(layer(np.eye(3, dtype="float16")), np.full((3, 2), 2**-0.5), rtol=1e-6)


def test_end_to_end_projection_is_trained_unless_frozen():
    layer = Whitening(3, end_to_end=True)
    model = keras.Sequential([keras.Input((6,)), layer])
    before = layer.get_weights()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(np.eye(6, dtype="float32"), np.ones((6, 3), "float32"), verbose=0)
    assert all(np.any(np.abs(old - new) > 1e-4) for old, new in zip(before, layer.get_weights(), strict=True))
    layer.trainable = False
    assert model.trainable_variables == []


def test_untrained_end_to_end_projection_keeps_distances():
    keras.utils.set_random_seed(1)
    x = np.random.default_rng(1).normal(size=(5, 900)).astype("float32")
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    layer = Whitening(400, end_to_end=True)
    y = np.array(layer(x))
    # A random projection errs by 1 / sqrt(dim) = 0.05 on a cosine; four times that is left to chance.
    np.testing.assert_allclose(y @ y.T, x @ x.T, atol=0.2)
    np.testing.assert_allclose(np.linalg.norm(x @ layer.get_weights()[0], axis=1), 1, atol=0.2)
    assert not layer.get_weights()[1].any()


def test_end_to_end_projection_may_widen_the_descriptor():
    y = Whitening(9, end_to_end=True)(np.ones((2, 6), "float32"))
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), [1, 1], rtol=1e-5)


def test_start_of_the_end_to_end_projection_follows_the_seed_of_keras():
    def start(seed):
        keras.utils.set_random_seed(seed)
        layer = Whitening(4, end_to_end=True)
        layer.build((None, 6))
        return layer.get_weights()[0]

    np.testing.assert_array_equal(start(3), start(3))
    assert not np.array_equal(start(3), start(4))


def test_end_to_end_projection_may_start_from_a_fitted_one():
    x = np.random.default_rng(1).normal(size=(3, 6)).astype("float32")
    np.testing.assert_array_equal(whitening(4, end_to_end=True)(x), whitening(4)(x))


@pytest.mark.parametrize("end_to_end", [False, True])
def test_round_trips_through_a_keras_file(tmp_path, end_to_end):
    model = keras.Sequential([keras.Input((6,)), whitening(3, end_to_end=end_to_end)])
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert reloaded.layers[-1].get_config() == model.layers[-1].get_config()
    assert len(reloaded.trainable_variables) == 2 * end_to_end
    np.testing.assert_array_equal(reloaded(np.eye(6)), model(np.eye(6)))


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: Whitening(0), "`dim` must be at least 1. Received: dim=0"),
        (lambda: Whitening(8)(np.ones((1, 6), "float32")), r"at least dim=8 channels. Received: input_shape=\(1, 6\)"),
        (lambda: Whitening(8, end_to_end=True).build((None, None)), r"Received: input_shape=\(None, None\)"),
        (lambda: Whitening(2).set_projection(np.ones((6, 2)), np.ones(2)), "needs a built layer"),
        (lambda: whitening(3).set_projection(np.ones((6, 2)), np.ones(2)), r"`projection` must be \[6, 3 or more\]"),
        (
            lambda: whitening(1).set_projection(np.full((6, 1), np.nan), np.ones(1)),
            "`projection` and `bias` must be",
        ),
        (lambda: whitening(1).set_projection(np.ones((6, 1)), np.ones(1), np.ones(5)), r"`mean` must be \[6\]"),
    ],
)
def test_bad_arguments_are_named(action, message):
    with pytest.raises(ValueError, match=message):
        action()
