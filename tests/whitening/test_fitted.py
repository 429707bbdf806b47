import numpy as np
import pytest

from keras_sare.whitening import FittedWhitening, fit_pca_whitening

DUAL = (30, 50)
PRIMAL = (120, 20)


def test_apply_gives_unit_vectors_and_equals_projection_plus_bias(draw):
    samples = draw(*DUAL)
    whitening = fit_pca_whitening(samples, 8)

    whitened = whitening.apply(samples, block_rows=7)

    expected = samples @ whitening.projection + whitening.bias
    np.testing.assert_allclose(whitened, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(whitened, axis=1), 1, atol=1e-6)
    assert whitened.dtype == np.float32


def test_applying_to_the_mean_gives_zero_and_no_nan(draw):
    whitening = fit_pca_whitening(draw(*PRIMAL), 8)

    np.testing.assert_array_equal(whitening.apply(whitening.mean.astype(np.float32)[None]), np.zeros((1, 8)))


@pytest.mark.parametrize("shape", [DUAL, PRIMAL])
def test_truncation_equals_a_fit_at_that_dimension(draw, shape):
    samples = draw(*shape)

    truncated = fit_pca_whitening(samples, 12).truncated(5)
    fitted = fit_pca_whitening(samples, 5)

    np.testing.assert_allclose(truncated.projection, fitted.projection, atol=2e-6)
    np.testing.assert_allclose(truncated.apply(samples), fitted.apply(samples), atol=1e-5)


def test_descriptors_of_another_width_are_not_whitened(draw):
    with pytest.raises(ValueError, match=r"must be \[n, 20\] like those of the fit.*\(3, 21\)"):
        fit_pca_whitening(draw(*PRIMAL), 5).apply(np.zeros((3, 21), np.float32))


@pytest.mark.parametrize("dim", [0, 6])
def test_truncation_beyond_the_fit_is_refused(dim):
    whitening = FittedWhitening(np.zeros(9), np.zeros((9, 5), np.float32), np.ones(5))

    with pytest.raises(ValueError, match=f"`dim` must be between 1 and the fitted dimension, 5. Received: dim={dim}"):
        whitening.truncated(dim)


def test_half_precision_descriptors_are_whitened_in_single_precision(draw):
    samples = draw(*PRIMAL).astype(np.float16)
    whitening = fit_pca_whitening(draw(*PRIMAL), 8)

    np.testing.assert_array_equal(whitening.apply(samples), whitening.apply(samples.astype(np.float32)))
