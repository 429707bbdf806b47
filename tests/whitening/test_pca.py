import numpy as np
import pytest
from sklearn.decomposition import PCA

from keras_sare.whitening import fit_pca_whitening, largest_dimension, shrunk_variances


def _project(whitening, descriptors):
    return (descriptors - whitening.mean) @ whitening.projection


DUAL = (30, 50)
PRIMAL = (120, 20)


def test_shapes_and_dtypes(draw):
    whitening = fit_pca_whitening(draw(*DUAL), 7)

    assert (whitening.mean.shape, whitening.mean.dtype) == ((50,), np.float64)
    assert (whitening.projection.shape, whitening.projection.dtype) == ((50, 7), np.float32)
    assert (whitening.eigenvalues.shape, whitening.eigenvalues.dtype) == ((7,), np.float64)
    assert (whitening.bias.shape, whitening.bias.dtype) == ((7,), np.float64)


@pytest.mark.parametrize("shape", [DUAL, PRIMAL, (40, 40)])
def test_equals_sklearn_up_to_sign_and_epsilon(draw, shape):
    samples = draw(*shape)
    dim = min(shape) - 1
    expected = PCA(dim, whiten=True, svd_solver="full").fit(samples.astype(np.float64))

    whitening = fit_pca_whitening(samples, dim)

    np.testing.assert_allclose(whitening.eigenvalues, expected.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(whitening.mean, expected.mean_, rtol=1e-12)
    without_epsilon = _project(whitening, samples) * np.sqrt((whitening.eigenvalues + 1e-9) / whitening.eigenvalues)
    theirs = expected.transform(samples.astype(np.float64))
    signs = np.sign((without_epsilon * theirs).sum(axis=0))
    np.testing.assert_allclose(without_epsilon, theirs * signs, atol=1e-5)


def _relja(x, dim):
    """NetVLAD's addPCA: eigenvectors U of the covariance over n - 1, or of the Gram matrix; U / sqrt(lambda + 1e-9)."""
    x = x.astype(np.float64)
    mean = x.mean(axis=0)
    centred = x - mean
    dual = len(x) < x.shape[1]
    variances, u = np.linalg.eigh((centred @ centred.T if dual else centred.T @ centred) / (len(x) - 1))
    variances = variances[::-1][:dim]
    u = u[:, ::-1][:, :dim]
    if dual:
        u = centred.T @ (u / np.sqrt(np.maximum(variances, 1e-9))) / np.sqrt(len(x) - 1)
    return mean, u / np.sqrt(variances + 1e-9), variances


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("shape", [DUAL, PRIMAL])
def test_equals_the_formula_of_netvlad(draw, assert_equal_up_to_sign, shape, dtype):
    samples = draw(*shape).astype(dtype)
    mean, projection, variances = _relja(samples, 15)

    whitening = fit_pca_whitening(samples, 15)

    np.testing.assert_allclose(whitening.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(whitening.eigenvalues, variances, rtol=1e-9)
    assert_equal_up_to_sign(whitening.projection, projection, 1e-6)


@pytest.mark.parametrize(("name", "draws"), [("primal", (2, 90, 14)), ("dual", (3, 30, 50))])
def test_equals_the_pca_of_patch_netvlad(oracle, assert_equal_up_to_sign, name, draws):
    directions, variances, mean = (oracle.fitted[f"{name}_{key}"] for key in ("u", "lams", "mu"))

    whitening = fit_pca_whitening(oracle.descriptors(*draws), 10)

    np.testing.assert_allclose(whitening.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(whitening.eigenvalues, variances, rtol=1e-9)
    assert_equal_up_to_sign(whitening.projection, directions / np.sqrt(variances + 1e-9), 1e-6)


def test_equals_the_pca_whitening_of_cirtorch(oracle, assert_equal_up_to_sign):
    samples = oracle.descriptors(0, 90, 14)

    whitening = fit_pca_whitening(samples, 14)

    # Theirs divides the covariance by n.
    np.testing.assert_allclose(whitening.mean, oracle.fitted["cirtorch_pca_mean"], rtol=1e-12)
    assert_equal_up_to_sign(whitening.projection * np.sqrt(90 / 89), oracle.fitted["cirtorch_pca_projection"].T, 1e-6)
    # And adds 1e-6 to the norm.
    assert_equal_up_to_sign(whitening.truncated(8).apply(samples), oracle.fitted["cirtorch_pca_applied"], 2e-6)


@pytest.mark.parametrize("dim", [3, 20])
def test_few_and_many_directions_agree(draw, dim):
    # Few are computed alone, many with all the others.
    samples = draw(200, 40)

    np.testing.assert_allclose(
        fit_pca_whitening(samples, dim).projection, fit_pca_whitening(samples, 40).projection[:, :dim], atol=2e-6
    )


def test_primal_equals_dual(draw):
    # Thirty samples of width 29 go the primal way; the same, padded with constant columns, the dual way.
    samples = draw(30, 29)
    padded = np.pad(samples, [(0, 0), (0, 11)], constant_values=0.5)

    primal = fit_pca_whitening(samples, 20)
    dual = fit_pca_whitening(padded, 20)

    np.testing.assert_allclose(dual.eigenvalues, primal.eigenvalues, rtol=1e-9)
    np.testing.assert_allclose(dual.projection[:29], primal.projection, atol=2e-5)
    np.testing.assert_allclose(dual.projection[29:], 0, atol=1e-6)


@pytest.mark.parametrize("shape", [DUAL, PRIMAL])
def test_whitened_training_data_has_identity_covariance(draw, shape):
    samples = draw(*shape)

    whitened = _project(fit_pca_whitening(samples, 15), samples)

    np.testing.assert_allclose(np.cov(whitened.T), np.eye(15), atol=1e-5)
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=1e-5)


@pytest.mark.parametrize("shape", [DUAL, PRIMAL])
def test_about_the_origin_scalar_products_are_kept_as_well_as_so_few_dimensions_can(draw, shape):
    samples = draw(*shape)
    fitted = fit_pca_whitening(samples, 6, centred=False)
    left, singular, _ = np.linalg.svd(samples.astype(np.float64), full_matrices=False)
    np.testing.assert_array_equal(fitted.mean, 0)
    np.testing.assert_allclose(fitted.eigenvalues, singular[:6] ** 2 / len(samples), rtol=1e-5)
    projected = _project(shrunk_variances(fitted, 1.0), samples) * np.sqrt(fitted.eigenvalues.mean())
    np.testing.assert_allclose(projected @ projected.T, (left[:, :6] * singular[:6] ** 2) @ left[:, :6].T, atol=2e-4)


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_shrunk_variances_lie_between_those_of_the_samples_and_of_white_noise(draw, share):
    samples = draw(*DUAL)
    fitted = fit_pca_whitening(samples, 15)
    shrunk = shrunk_variances(fitted, share)
    variances = fitted.eigenvalues
    left = variances / ((1 - share) * variances + share * variances.mean())
    np.testing.assert_allclose(np.cov(_project(shrunk, samples).T), np.diag(left), atol=1e-5)
    if share == 0:
        np.testing.assert_array_equal(shrunk.projection, fitted.projection)
    if share == 1:
        np.testing.assert_allclose(np.linalg.norm(shrunk.projection, axis=0), variances.mean() ** -0.5, rtol=1e-5)


def test_share_that_is_none_is_refused(draw):
    with pytest.raises(ValueError, match="`share` must be between 0 and 1. Received: share=1.5"):
        shrunk_variances(fit_pca_whitening(draw(*DUAL), 5), 1.5)


def test_literal_values_of_a_line():
    # Mean (1, 0); variance 2 along x = ((-1)^2 + 1^2) / 1.
    whitening = fit_pca_whitening(np.float32([[0, 0], [2, 0]]), 1)

    np.testing.assert_allclose(whitening.eigenvalues, [2])
    np.testing.assert_allclose(whitening.projection, [[1 / np.sqrt(2)], [0]], rtol=1e-6)
    np.testing.assert_allclose(whitening.bias, [-1 / np.sqrt(2)], rtol=1e-6)


@pytest.mark.parametrize("shape", [DUAL, PRIMAL])
def test_small_variances_are_damped_by_epsilon(draw, shape):
    samples = draw(*shape) * np.float32(5e-5)

    whitening = fit_pca_whitening(samples, 10)

    expected = whitening.eigenvalues / (whitening.eigenvalues + 1e-9)
    assert expected[-1] < 0.6
    np.testing.assert_allclose(_project(whitening, samples).var(axis=0, ddof=1), expected, rtol=1e-4)


@pytest.mark.parametrize("shape", [DUAL, PRIMAL])
def test_the_largest_element_of_each_direction_is_positive(draw, shape):
    projection = fit_pca_whitening(draw(*shape), 15).projection

    assert (np.take_along_axis(projection, np.abs(projection).argmax(axis=0)[None], 0) > 0).all()


@pytest.mark.parametrize("shape", [DUAL, PRIMAL])
@pytest.mark.parametrize("block", [1, 7, 1024])
def test_the_block_size_changes_nothing(draw, shape, block):
    samples = draw(*shape)

    blocked = fit_pca_whitening(samples, 5, block=block)
    whole = fit_pca_whitening(samples, 5)

    np.testing.assert_allclose(blocked.projection, whole.projection, atol=1e-6)


@pytest.mark.parametrize("shape", [DUAL, PRIMAL])
def test_a_memory_map_gives_the_same_as_an_array(draw, tmp_path, shape):
    samples = draw(*shape)
    samples.tofile(tmp_path / "samples.f32")

    mapped = fit_pca_whitening(np.memmap(tmp_path / "samples.f32", np.float32, mode="r", shape=shape), 5)

    np.testing.assert_array_equal(mapped.projection, fit_pca_whitening(samples, 5).projection)


def test_at_most_max_samples_are_drawn_by_seed(draw):
    samples = draw(200, 10)
    first, again, other = (fit_pca_whitening(samples, 4, max_samples=50, seed=seed) for seed in (1, 1, 2))

    np.testing.assert_array_equal(first.projection, again.projection)
    assert not np.allclose(first.mean, other.mean)
    assert not np.allclose(first.mean, samples.mean(axis=0))


def test_the_input_is_left_as_it_was(draw):
    for shape in (DUAL, PRIMAL):
        samples = draw(*shape)
        before = samples.copy()
        fit_pca_whitening(samples, 5)
        np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((500, 32768), 499), ((20000, 32768), 9999), ((5000, 512), 512), ((1, 9), 0), ((0, 9), 0)],
)
def test_largest_dimension(arguments, expected):
    assert largest_dimension(*arguments) == expected


@pytest.mark.parametrize("shape", [(10, 30), (11, 10), (200, 12)])
def test_the_largest_dimension_can_be_fitted_and_one_more_cannot(draw, shape):
    largest = largest_dimension(*shape)

    assert fit_pca_whitening(draw(*shape), largest).projection.shape == (shape[1], largest)
    with pytest.raises(ValueError, match=rf"`dim` must be between 1 and {largest},.*dim={largest + 1}"):
        fit_pca_whitening(draw(*shape), largest + 1)


def test_max_samples_limits_the_dimension(draw):
    with pytest.raises(ValueError, match=r"`dim` must be between 1 and 9,.*dim=10 with 10 samples of width 50"):
        fit_pca_whitening(draw(30, 50), 10, max_samples=10)


@pytest.mark.parametrize(("rows", "features"), [(8, 40), (8, 12)])
def test_repeated_samples_name_the_largest_dimension_they_give(draw, rows, features):
    repeated = np.tile(draw(rows, features), (3, 1))

    with pytest.raises(ValueError, match=r"`dim` must be at most 7, the number of directions in which the 24 samples"):
        fit_pca_whitening(repeated, 10)
    assert fit_pca_whitening(repeated, 7).eigenvalues.shape == (7,)


@pytest.mark.parametrize("shape", [(9, 30), (90, 30)])
def test_equal_samples_differ_in_no_direction(shape):
    with pytest.raises(ValueError, match="`dim` must be at most 0"):
        fit_pca_whitening(np.full(shape, 0.1, np.float32), 2)


def test_dim_below_one_is_refused(draw):
    with pytest.raises(ValueError, match="`dim` must be between 1 and 29.*dim=0"):
        fit_pca_whitening(draw(*DUAL), 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("shape", [DUAL, PRIMAL])
def test_broken_samples_are_refused(draw, shape, value):
    samples = draw(*shape)
    samples[4, 3] = value

    with pytest.raises(ValueError, match=f"`descriptors` must hold finite numbers.*1 of {shape[1]} columns"):
        fit_pca_whitening(samples, 5)


@pytest.mark.parametrize("shape", [(9,), (1, 9)])
def test_samples_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"`descriptors` must be \[n, D\] with n of at least 2"):
        fit_pca_whitening(np.zeros(shape, np.float32), 1)


@pytest.mark.parametrize("arguments", [{"max_samples": 1}, {"block": 0}])
def test_sizes_out_of_range_are_refused(draw, arguments):
    with pytest.raises(ValueError, match="`max_samples` must be at least 2 and `block` at least 1"):
        fit_pca_whitening(draw(*DUAL), 5, **arguments)
