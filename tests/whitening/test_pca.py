import numpy as np
import pytest
from sklearn.decomposition import PCA

from keras_sare.whitening import PCAWhitening, fit_pca_whitening, largest_dimension


def _samples(rows, features, seed=0):
    """Correlated samples away from the origin, like descriptors."""
    rng = np.random.default_rng(seed)
    scales = np.geomspace(1, 0.05, features)
    rotation = np.linalg.qr(rng.standard_normal((features, features)))[0]
    return (rng.standard_normal((rows, features)) * scales @ rotation + rng.standard_normal(features)).astype(
        np.float32
    )


def _project(whitening, descriptors):
    return (descriptors - whitening.mean) @ whitening.projection


DUAL, PRIMAL = (30, 50), (120, 20)


def test_shapes_and_dtypes():
    whitening = fit_pca_whitening(_samples(*DUAL), 7)

    assert (whitening.mean.shape, whitening.mean.dtype) == ((50,), np.float64)
    assert (whitening.projection.shape, whitening.projection.dtype) == ((50, 7), np.float32)
    assert (whitening.eigenvalues.shape, whitening.eigenvalues.dtype) == ((7,), np.float64)
    assert (whitening.bias.shape, whitening.bias.dtype) == ((7,), np.float32)


@pytest.mark.parametrize("shape", [DUAL, PRIMAL, (40, 40)])
def test_equals_sklearn_up_to_sign_and_epsilon(shape):
    samples = _samples(*shape)
    dim = min(shape) - 1
    expected = PCA(dim, whiten=True, svd_solver="full").fit(samples.astype(np.float64))

    whitening = fit_pca_whitening(samples, dim)

    np.testing.assert_allclose(whitening.eigenvalues, expected.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(whitening.mean, expected.mean_, rtol=1e-12)
    without_epsilon = _project(whitening, samples) * np.sqrt((whitening.eigenvalues + 1e-9) / whitening.eigenvalues)
    theirs = expected.transform(samples.astype(np.float64))
    signs = np.sign((without_epsilon * theirs).sum(axis=0))
    np.testing.assert_allclose(without_epsilon, theirs * signs, atol=1e-5)


def test_primal_equals_dual():
    # Thirty samples of width 29 go the primal way; the same, padded with constant columns, the dual way.
    samples = _samples(30, 29)
    padded = np.pad(samples, [(0, 0), (0, 11)], constant_values=0.5)

    primal, dual = fit_pca_whitening(samples, 20), fit_pca_whitening(padded, 20)

    np.testing.assert_allclose(dual.eigenvalues, primal.eigenvalues, rtol=1e-9)
    np.testing.assert_allclose(dual.projection[:29], primal.projection, atol=2e-5)
    np.testing.assert_allclose(dual.projection[29:], 0, atol=1e-6)


@pytest.mark.parametrize("shape", [DUAL, PRIMAL])
def test_whitened_training_data_has_identity_covariance(shape):
    samples = _samples(*shape)

    whitened = _project(fit_pca_whitening(samples, 15), samples)

    np.testing.assert_allclose(np.cov(whitened.T), np.eye(15), atol=1e-5)
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=1e-5)


def test_literal_values_of_a_line():
    # Mean (1, 0); variance 2 along x = ((-1)^2 + 1^2) / 1.
    whitening = fit_pca_whitening(np.float32([[0, 0], [2, 0]]), 1)

    np.testing.assert_allclose(whitening.eigenvalues, [2])
    np.testing.assert_allclose(whitening.projection, [[1 / np.sqrt(2)], [0]], rtol=1e-6)
    np.testing.assert_allclose(whitening.bias, [-1 / np.sqrt(2)], rtol=1e-6)


@pytest.mark.parametrize("shape", [DUAL, PRIMAL])
def test_small_variances_are_damped_by_epsilon(shape):
    samples = _samples(*shape) * np.float32(5e-5)

    whitening = fit_pca_whitening(samples, 10)

    expected = whitening.eigenvalues / (whitening.eigenvalues + 1e-9)
    assert expected[-1] < 0.6
    np.testing.assert_allclose(_project(whitening, samples).var(axis=0, ddof=1), expected, rtol=1e-4)


@pytest.mark.parametrize("shape", [DUAL, PRIMAL])
def test_the_largest_element_of_each_direction_is_positive(shape):
    projection = fit_pca_whitening(_samples(*shape), 15).projection

    assert (np.take_along_axis(projection, np.abs(projection).argmax(axis=0)[None], 0) > 0).all()


@pytest.mark.parametrize("shape", [DUAL, PRIMAL])
@pytest.mark.parametrize("block", [1, 7, 1024])
def test_the_block_size_changes_nothing(shape, block):
    samples = _samples(*shape)

    blocked, whole = fit_pca_whitening(samples, 5, block=block), fit_pca_whitening(samples, 5)

    np.testing.assert_allclose(blocked.projection, whole.projection, atol=1e-6)


@pytest.mark.parametrize("shape", [DUAL, PRIMAL])
def test_a_memory_map_gives_the_same_as_an_array(tmp_path, shape):
    samples = _samples(*shape)
    samples.tofile(tmp_path / "samples.f32")

    mapped = fit_pca_whitening(np.memmap(tmp_path / "samples.f32", np.float32, mode="r", shape=shape), 5)

    np.testing.assert_array_equal(mapped.projection, fit_pca_whitening(samples, 5).projection)


def test_at_most_max_samples_are_drawn_by_seed():
    samples = _samples(200, 10)
    first, again, other = (fit_pca_whitening(samples, 4, max_samples=50, seed=seed) for seed in (1, 1, 2))

    np.testing.assert_array_equal(first.projection, again.projection)
    assert not np.allclose(first.mean, other.mean)
    assert not np.allclose(first.mean, samples.mean(axis=0))


def test_the_input_is_left_as_it_was():
    for shape in (DUAL, PRIMAL):
        samples = _samples(*shape)
        before = samples.copy()
        fit_pca_whitening(samples, 5)
        np.testing.assert_array_equal(samples, before)


def test_apply_gives_unit_vectors_and_equals_projection_plus_bias():
    samples = _samples(*DUAL)
    whitening = fit_pca_whitening(samples, 8)

    whitened = whitening.apply(samples, block_rows=7)

    expected = samples @ whitening.projection + whitening.bias
    np.testing.assert_allclose(whitened, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(whitened, axis=1), 1, atol=1e-6)
    assert whitened.dtype == np.float32


def test_applying_to_the_mean_gives_zero_and_no_nan():
    whitening = fit_pca_whitening(_samples(*PRIMAL), 8)

    np.testing.assert_array_equal(whitening.apply(whitening.mean.astype(np.float32)[None]), np.zeros((1, 8)))


@pytest.mark.parametrize("shape", [DUAL, PRIMAL])
def test_truncation_equals_a_fit_at_that_dimension(shape):
    samples = _samples(*shape)

    truncated, fitted = fit_pca_whitening(samples, 12).truncated(5), fit_pca_whitening(samples, 5)

    np.testing.assert_allclose(truncated.projection, fitted.projection, atol=2e-6)
    np.testing.assert_allclose(truncated.apply(samples), fitted.apply(samples), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((500, 32768), 499), ((20000, 32768), 9999), ((5000, 512), 512), ((1, 9), 0), ((0, 9), 0)],
)
def test_largest_dimension(arguments, expected):
    assert largest_dimension(*arguments) == expected


@pytest.mark.parametrize("shape", [(10, 30), (11, 10), (200, 12)])
def test_the_largest_dimension_can_be_fitted_and_one_more_cannot(shape):
    largest = largest_dimension(*shape)

    assert fit_pca_whitening(_samples(*shape), largest).projection.shape == (shape[1], largest)
    with pytest.raises(ValueError, match=rf"`dim` must be between 1 and {largest},.*dim={largest + 1}"):
        fit_pca_whitening(_samples(*shape), largest + 1)


def test_max_samples_limits_the_dimension():
    with pytest.raises(ValueError, match=r"`dim` must be between 1 and 9,.*dim=10 with 10 samples of width 50"):
        fit_pca_whitening(_samples(30, 50), 10, max_samples=10)


@pytest.mark.parametrize(("rows", "features"), [(8, 40), (8, 12)])
def test_repeated_samples_name_the_largest_dimension_they_give(rows, features):
    repeated = np.tile(_samples(rows, features), (3, 1))

    with pytest.raises(ValueError, match=r"`dim` must be at most 7, the number of directions in which the 24 samples"):
        fit_pca_whitening(repeated, 10)
    assert fit_pca_whitening(repeated, 7).eigenvalues.shape == (7,)


@pytest.mark.parametrize("shape", [(9, 30), (90, 30)])
def test_equal_samples_differ_in_no_direction(shape):
    with pytest.raises(ValueError, match="`dim` must be at most 0"):
        fit_pca_whitening(np.full(shape, 0.1, np.float32), 2)


def test_dim_below_one_is_refused():
    with pytest.raises(ValueError, match="`dim` must be between 1 and 29.*dim=0"):
        fit_pca_whitening(_samples(*DUAL), 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("shape", [DUAL, PRIMAL])
def test_broken_samples_are_refused(shape, value):
    samples = _samples(*shape)
    samples[4, 3] = value

    with pytest.raises(ValueError, match=f"`descriptors` must hold finite numbers.*1 of {shape[1]} columns"):
        fit_pca_whitening(samples, 5)


@pytest.mark.parametrize("shape", [(9,), (1, 9)])
def test_samples_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"`descriptors` must be \[n, D\] with n of at least 2"):
        fit_pca_whitening(np.zeros(shape, np.float32), 1)


@pytest.mark.parametrize("arguments", [{"max_samples": 1}, {"block": 0}])
def test_sizes_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="`max_samples` must be at least 2 and `block` at least 1"):
        fit_pca_whitening(_samples(*DUAL), 5, **arguments)


def test_descriptors_of_another_width_are_not_whitened():
    with pytest.raises(ValueError, match=r"must be \[n, 20\] like those of the fit.*\(3, 21\)"):
        fit_pca_whitening(_samples(*PRIMAL), 5).apply(np.zeros((3, 21), np.float32))


@pytest.mark.parametrize("dim", [0, 6])
def test_truncation_beyond_the_fit_is_refused(dim):
    whitening = PCAWhitening(np.zeros(9), np.zeros((9, 5), np.float32), np.ones(5))

    with pytest.raises(ValueError, match=f"`dim` must be between 1 and the fitted dimension, 5. Received: dim={dim}"):
        whitening.truncated(dim)
