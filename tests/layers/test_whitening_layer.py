import numpy as np
import pytest

from keras_sare.layers import Whitening


def whitening(dim):
    layer = Whitening(dim)
    layer.build((None, 6))
    rng = np.random.default_rng(0)
    layer.set_projection(rng.normal(size=(6, 5)), rng.normal(size=5))
    return layer


def test_projects_and_normalises():
    x = np.random.default_rng(1).normal(size=(3, 6)).astype("float32")
    projection, bias = whitening(5).get_weights()
    expected = x @ projection + bias
    np.testing.assert_allclose(
        whitening(5)(x), expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-5, atol=1e-6
    )


def test_smaller_dimension_is_the_first_columns_normalised_again():
    x = np.random.default_rng(1).normal(size=(3, 6)).astype("float32")
    first = np.array(whitening(5)(x))[:, :2]
    np.testing.assert_allclose(whitening(2)(x), first / np.linalg.norm(first, axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: Whitening(0), "`dim` must be at least 1. Received: dim=0"),
        (lambda: Whitening(8)(np.ones((1, 6), "float32")), r"at least dim=8 channels. Received: input_shape=\(1, 6\)"),
        (lambda: Whitening(2).set_projection(np.ones((6, 2)), np.ones(2)), "needs a built layer"),
        (lambda: whitening(3).set_projection(np.ones((6, 2)), np.ones(2)), r"`projection` must be \[6, 3 or more\]"),
    ],
)
def test_bad_arguments_are_named(action, message):
    with pytest.raises(ValueError, match=message):
        action()
