import numpy as np
import pytest

from keras_sare.whitening import fit_learned_whitening, fit_pca_whitening


def _covariances(samples, queries, positives, mean):
    """S and T by naive loops."""
    pairs = [samples[q] - samples[p] for q, p in zip(queries, positives, strict=True)]
    return (
        sum(np.outer(one, one) for one in pairs) / len(pairs),
        sum(np.outer(one - mean, one - mean) for one in samples) / len(samples),
    )


def test_shapes_and_dtypes(oracle):
    whitening = fit_learned_whitening(oracle.descriptors(0, 90, 14), *oracle.pairs(1, 70, 90), dim=5)

    assert (whitening.mean.shape, whitening.mean.dtype) == ((14,), np.float64)
    assert (whitening.projection.shape, whitening.projection.dtype) == ((14, 5), np.float32)
    assert (whitening.eigenvalues.shape, whitening.eigenvalues.dtype) == ((5,), np.float64)
    assert whitening.apply(np.ones((3, 14))).shape == (3, 5)


def test_equals_cirtorch(oracle, assert_equal_up_to_sign):
    samples = oracle.descriptors(0, 90, 14)

    whitening = fit_learned_whitening(samples, *oracle.pairs(1, 70, 90))

    np.testing.assert_allclose(whitening.mean, oracle.fitted["lw_mean"], rtol=1e-12)
    assert_equal_up_to_sign(whitening.projection, oracle.fitted["lw_projection"].T, 1e-6)
    # Theirs adds 1e-6 to the norm.
    assert_equal_up_to_sign(whitening.truncated(8).apply(samples), oracle.fitted["lw_applied"], 2e-6)


def test_channels_that_are_always_zero_are_left_out_where_cirtorch_adds_to_the_diagonal(
    oracle, assert_equal_up_to_sign
):
    samples = np.insert(oracle.descriptors(0, 90, 14), [3, 9], 0, axis=1)

    whitening = fit_learned_whitening(samples, *oracle.pairs(1, 70, 90))

    assert whitening.projection.shape == (16, 14)
    np.testing.assert_allclose(whitening.projection[[3, 10]], 0, atol=1e-6)
    assert_equal_up_to_sign(whitening.projection, oracle.fitted["lw_dead_projection"].T[:, :14], 1e-6)


def test_an_epsilon_of_1e_10_equals_cirtorch_on_too_few_pairs(oracle, assert_equal_up_to_sign, caplog):
    samples = oracle.descriptors(0, 90, 14)
    samples /= np.linalg.norm(samples, axis=1, keepdims=True)

    whitening = fit_learned_whitening(samples, *oracle.pairs(1, 9, 90), epsilon=1e-10)

    assert "9 pairs differ in 9 of 14 directions; the others" in caplog.text
    # The directions that no pair speaks of come first there, 1e5 times larger than the others.
    assert np.abs(oracle.fitted["lw_few_projection"][:5]).max() > 1e4
    assert_equal_up_to_sign(whitening.projection, oracle.fitted["lw_few_projection"].T, 1e-6)


def test_pairs_become_white_and_descriptors_uncorrelated(oracle):
    samples = oracle.descriptors(5, 60, 8)
    queries, positives = oracle.pairs(6, 40, 60)
    whitening = fit_learned_whitening(samples, queries, positives)

    within, total = _covariances(samples, queries, positives, samples[queries].mean(axis=0))

    p = whitening.projection.astype(np.float64)
    np.testing.assert_allclose(p.T @ within @ p, np.eye(8), atol=2e-6)
    np.testing.assert_allclose(p.T @ total @ p, np.diag(whitening.eigenvalues), atol=1e-5)


def test_literal_values():
    # Pairs differ by 1 along x and by 2 along y: S = diag(1/2, 2). The queries' mean is (0, 0).
    samples = np.float32([[2, 1], [3, 1], [-2, -1], [-2, -3]])
    whitening = fit_learned_whitening(samples, [0, 2], [1, 3])

    np.testing.assert_array_equal(whitening.mean, [0, 0])
    within = np.diag([0.5, 2.0])
    total = np.array([[21, 13], [13, 12]]) / 4
    ratios = np.linalg.eigvals(np.linalg.solve(within, total))
    np.testing.assert_allclose(whitening.eigenvalues, np.sort(ratios)[::-1], rtol=1e-12)


def test_damps_what_differs_between_matching_images():
    # Places differ along the first axis, two photos of a place along the second.
    rng = np.random.default_rng(0)
    places = np.repeat(rng.standard_normal((100, 1)), 2, axis=0)
    samples = np.hstack([places + 0.01 * rng.standard_normal((200, 1)), 3 * rng.standard_normal((200, 1))])
    queries = np.arange(0, 200, 2)

    learned = fit_learned_whitening(samples, queries, queries + 1, dim=1).projection[:, 0]
    pca = fit_pca_whitening(samples, 1).projection[:, 0]

    assert abs(learned[0]) > 50 * abs(learned[1])
    assert abs(pca[1]) > 5 * abs(pca[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_lower_precision_is_computed_in_double(oracle, dtype):
    samples = oracle.descriptors(0, 90, 14).astype(dtype)
    pairs = oracle.pairs(1, 70, 90)

    np.testing.assert_array_equal(
        fit_learned_whitening(samples, *pairs).projection,
        fit_learned_whitening(samples.astype(np.float64), *pairs).projection,
    )


def test_a_memory_map_and_small_blocks_change_nothing(oracle, tmp_path):
    samples = oracle.descriptors(0, 90, 14).astype(np.float32)
    pairs = oracle.pairs(1, 70, 90)
    samples.tofile(tmp_path / "samples.f32")
    mapped = np.memmap(tmp_path / "samples.f32", np.float32, mode="r", shape=samples.shape)

    whole = fit_learned_whitening(samples, *pairs)

    np.testing.assert_array_equal(fit_learned_whitening(mapped, *pairs).projection, whole.projection)
    np.testing.assert_allclose(fit_learned_whitening(mapped, *pairs, block=7).projection, whole.projection, rtol=1e-5)


def test_a_smaller_dimension_is_the_first_directions_of_a_larger(oracle):
    samples = oracle.descriptors(0, 90, 14)
    pairs = oracle.pairs(1, 70, 90)

    np.testing.assert_allclose(
        fit_learned_whitening(samples, *pairs, dim=1).projection,
        fit_learned_whitening(samples, *pairs).truncated(1).projection,
        atol=1e-6,
    )


def test_repeated_queries_weigh_more(oracle):
    samples = oracle.descriptors(0, 90, 14)
    queries, positives = oracle.pairs(1, 70, 90)

    whitening = fit_learned_whitening(samples, np.append(queries, 3), np.append(positives, 4))

    np.testing.assert_allclose(whitening.mean, samples[np.append(queries, 3)].mean(axis=0))


def test_principal_directions_first_equals_whitening_what_pca_keeps(oracle, assert_equal_up_to_sign):
    samples = oracle.descriptors(0, 90, 14)
    pairs = oracle.pairs(1, 9, 90)
    mean = samples[pairs[0]].mean(axis=0)
    _, axes = np.linalg.eigh((samples - mean).T @ (samples - mean))
    reduced = (samples - mean) @ axes[:, :-7:-1]

    whitening = fit_learned_whitening(samples, *pairs, principal=6)

    expected = axes[:, :-7:-1] @ fit_learned_whitening(reduced, *pairs).projection
    assert_equal_up_to_sign(whitening.projection, expected, 1e-6)


def test_too_few_pairs_name_the_ways_out_and_both_work(oracle):
    samples = oracle.descriptors(0, 90, 14)
    pairs = oracle.pairs(1, 9, 90)

    message = (
        r"must differ in all 14 directions.*the 9 pairs differ in 9: give more pairs, or principal=9 or fewer, or an "
        r"`epsilon` of at least .*epsilon=0"
    )
    with pytest.raises(ValueError, match=message):
        fit_learned_whitening(samples, *pairs)
    assert fit_learned_whitening(samples, *pairs, principal=9).projection.shape == (14, 9)
    assert fit_learned_whitening(samples, *pairs, epsilon=1e-3).projection.shape == (14, 14)


def test_an_epsilon_that_vanishes_beside_the_pairs_is_refused(oracle):
    samples = 1e5 * oracle.descriptors(0, 90, 14)
    pairs = oracle.pairs(1, 9, 90)

    with pytest.raises(ValueError, match=r"`epsilon` of at least (\d\.\de-\d\d).*epsilon=1e-10") as error:
        fit_learned_whitening(samples, *pairs, epsilon=1e-10)
    named = float(str(error.value).split("at least ")[1].split(". Received")[0])
    assert fit_learned_whitening(samples, *pairs, epsilon=named).projection.shape == (14, 14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 15}, "`dim` must be at most 14, the number of directions.*dim=15"),
        ({"dim": 5, "principal": 4}, "`dim` must be at most 4"),
        ({"principal": 15}, "`principal` must be between 1 and 14.*principal=15"),
        ({"principal": 0}, "`principal` must be between 1 and 14.*principal=0"),
        ({"dim": 0}, "`dim` and `block` must be at least 1.*dim=0"),
        ({"block": 0}, "`dim` and `block` must be at least 1.*block=0"),
        ({"epsilon": -1.0}, "`epsilon` at least 0.*epsilon=-1"),
        ({"epsilon": np.nan}, "`epsilon` at least 0.*epsilon=nan"),
    ],
)
def test_numbers_out_of_range_are_refused(oracle, arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_learned_whitening(oracle.descriptors(0, 90, 14), *oracle.pairs(1, 70, 90), **arguments)


@pytest.mark.parametrize(
    ("queries", "positives", "message"),
    [
        ([0, 1], [2], "as long as one another.*len.queries.=2, len.positives.=1"),
        ([], [], r"`queries` must be \[N\] integers, N of at least 1.*\(0,\)"),
        ([0.0, 1.0], [2, 3], r"`queries` must be \[N\] integers.*float64"),
        ([0, 1], [[2], [3]], r"`positives` must be \[N\] integers.*\(2, 1\)"),
        ([0, 90], [2, 3], "`queries` must be rows of `descriptors`, 0 to 89.*from 0 to 90"),
        ([0, 1], [-1, 3], "`positives` must be rows of `descriptors`, 0 to 89.*from -1 to 3"),
        ([0, 1, 2], [5, 1, 2], "must pair different images.*2 such pairs"),
    ],
)
def test_pairs_that_are_none_are_refused(oracle, queries, positives, message):
    with pytest.raises(ValueError, match=message):
        fit_learned_whitening(oracle.descriptors(0, 90, 14), queries, positives)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("row", [0, 1, 89])
def test_broken_descriptors_are_refused(oracle, row, value):
    samples = oracle.descriptors(0, 90, 14)
    samples[row, 5] = value

    with pytest.raises(ValueError, match="`descriptors` must hold finite numbers only"):
        fit_learned_whitening(samples, [0, 1], [1, 2])


def test_descriptors_of_a_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"`descriptors` must be \[n, D\] with n of at least 2.*\(9,\)"):
        fit_learned_whitening(np.zeros(9), [0], [1])


def test_equal_descriptors_have_no_direction():
    with pytest.raises(ValueError, match="`principal` must be between 1 and 0"):
        fit_learned_whitening(np.ones((9, 3)), [0], [1])


def test_pairs_that_do_not_differ_at_all_are_refused():
    x = np.repeat(np.random.default_rng(0).normal(size=(20, 6)), 2, axis=0)
    with pytest.raises(ValueError, match="must pair images that differ: the descriptors of all 20 pairs are equal"):
        fit_learned_whitening(x, np.arange(0, 40, 2), np.arange(1, 40, 2))
