import logging
import tracemalloc

import numpy as np
import pytest

from keras_sare.whitening import IncrementalPCAWhitening, fit_pca_whitening
from keras_sare.whitening.scatter import FullScatter, SketchedScatter

FULL = 24 * 50**2
"""Bytes that fit the 50 x 50 matrix."""


def _sketched(rows, features):
    return SketchedScatter.needed_bytes(features, rows) + 1


def _fit(dim, batches, memory_limit=FULL):
    whitening = IncrementalPCAWhitening(dim, memory_limit)
    for batch in batches:
        whitening.update(batch)
    return whitening.finish(), whitening


def _assert_same_fit(ours, theirs):
    np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ours.eigenvalues, theirs.eigenvalues, rtol=1e-9)
    scale = np.abs(theirs.projection).max(axis=0)
    assert (np.abs(ours.projection - theirs.projection) / scale).max() < 1e-6


@pytest.mark.parametrize("sizes", [[200], [100, 100], [1, 1, 198], [7] * 28 + [4], [1] * 200])
def test_where_the_matrix_fits_all_samples_count_exactly(draw, sizes):
    samples = draw(200, 50)

    fitted, whitening = _fit(40, np.split(samples, np.cumsum(sizes)[:-1]))

    assert (whitening.count, whitening.missed_variance) == (200, 0)
    _assert_same_fit(fitted, fit_pca_whitening(samples, 40))


@pytest.mark.parametrize("sizes", [[30], [10, 20], [1, 29], [29, 1]])
def test_rows_that_fit_give_what_the_batch_fit_gives(draw, sizes):
    samples = draw(30, 100)

    fitted, whitening = _fit(15, np.split(samples, np.cumsum(sizes)[:-1]), _sketched(31, 100))

    assert whitening.missed_variance == 0
    _assert_same_fit(fitted, fit_pca_whitening(samples, 15))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int8])
def test_other_dtypes_are_computed_in_double(draw, dtype):
    samples = (10 * draw(200, 50)).astype(dtype)

    fitted, _ = _fit(5, np.array_split(samples, 3))

    _assert_same_fit(fitted, fit_pca_whitening(samples, 5))


@pytest.mark.parametrize(("rows", "memory_limit"), [(100, FULL), (25, _sketched(32, 50))])
def test_sorted_batches_far_from_the_origin_cost_no_digits(draw, rows, memory_limit):
    samples = draw(rows, 50).astype(np.float64)
    samples[:, 0] += np.linspace(0, 1000, rows)
    samples += 1e3

    fitted, whitening = _fit(12, np.array_split(samples, 5), memory_limit)

    assert whitening.missed_variance == 0
    np.testing.assert_allclose(fitted.eigenvalues, fit_pca_whitening(samples - 1e3, 12).eigenvalues, rtol=1e-9)


@pytest.mark.parametrize("rows", [24, 25, 60])
def test_beyond_memory_no_variance_errs_by_more_than_the_bound(draw, rows):
    samples = draw(400, 100)
    exact = fit_pca_whitening(samples, 12)

    fitted, whitening = _fit(12, np.array_split(samples, 9), _sketched(rows, 100))

    short = exact.eigenvalues - fitted.eigenvalues
    assert whitening.missed_variance > 0
    assert short.min() > -1e-9
    assert short.max() < whitening.missed_variance


def test_beyond_memory_the_leading_directions_are_found_where_the_spectrum_falls():
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((1000, 80)) * 0.8 ** np.arange(80)
    exact = fit_pca_whitening(samples, 5)

    fitted, whitening = _fit(5, np.array_split(samples, 20), _sketched(60, 80))

    assert 0 < whitening.missed_variance < 1e-4
    np.testing.assert_allclose(fitted.eigenvalues, exact.eigenvalues, rtol=1e-6)
    np.testing.assert_allclose(fitted.projection, exact.projection, atol=1e-4)


def test_beyond_memory_more_memory_errs_less(draw):
    samples = draw(400, 100)
    missed = [_fit(10, np.array_split(samples, 8), _sketched(rows, 100))[1].missed_variance for rows in (20, 40, 80)]

    assert missed[0] > missed[1] > missed[2] > 0


def test_an_approximate_fit_is_said_to_be_one(draw, caplog):
    _fit(10, [draw(100, 100)], _sketched(40, 100))

    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "100 samples did not fit `memory_limit`, so this fit is approximate" in record.getMessage()


def test_an_exact_fit_is_not_warned_of(draw, caplog):
    with caplog.at_level("WARNING"):
        _fit(10, [draw(100, 50)])

    assert not caplog.records


def test_first_batch_that_is_larger_than_the_rows_held_says_nothing(draw, capfd):
    _fit(10, [draw(100, 50)])

    assert capfd.readouterr() == ("", "")


def test_equal_batches_give_equal_results(draw):
    samples = draw(300, 100)
    first, second = (_fit(10, np.array_split(samples, 7), _sketched(40, 100))[0] for _ in range(2))

    np.testing.assert_array_equal(first.projection, second.projection)
    np.testing.assert_array_equal(first.mean, second.mean)


def test_a_memory_map_gives_the_same_as_an_array(draw, tmp_path):
    samples = draw(200, 50)
    samples.tofile(tmp_path / "samples.f32")
    mapped = np.memmap(tmp_path / "samples.f32", np.float32, mode="r", shape=samples.shape)

    np.testing.assert_array_equal(_fit(5, [mapped])[0].projection, _fit(5, [samples])[0].projection)


def test_the_batches_are_left_as_they_were(draw):
    samples = draw(60, 50).astype(np.float64)
    before = samples.copy()

    _fit(5, np.array_split(samples, 3))

    np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize(("limit", "features", "dim"), [(24 * 200**2, 200, 30), (5e6, 1500, 40)])
def test_memory_stays_within_the_limit(limit, features, dim):
    batches = np.random.default_rng(0).standard_normal((5, 100, features), dtype=np.float32)
    tracemalloc.start()
    fitted, _ = _fit(dim, batches, limit)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # Beside the limit: the result, and a batch in double, centred, checked and cut into columns.
    assert peak < limit + fitted.projection.nbytes + 4 * 8 * 100 * features


def test_the_default_limit_holds_what_the_docstring_says():
    assert FullScatter.needed_bytes(15_811) <= 6e9 < FullScatter.needed_bytes(15_812)
    assert SketchedScatter.capacity_within(6e9, 32_768) == 11_266
    assert SketchedScatter.needed_bytes(32_768, 11_266) <= 6e9 < SketchedScatter.needed_bytes(32_768, 11_267)


def test_the_least_memory_named_is_enough():
    batch = np.random.default_rng(0).standard_normal((30, 400))
    with pytest.raises(
        ValueError, match=r"`memory_limit` must be at least (\d+) bytes for 7 directions.*=1000"
    ) as error:
        IncrementalPCAWhitening(7, 1000).update(batch)

    needed = int(str(error.value).split("at least ")[1].split()[0])
    assert _fit(7, [batch], needed)[0].projection.shape == (400, 7)


@pytest.mark.parametrize(("dim", "memory_limit"), [(0, 1e9), (5, 0), (5, np.nan)])
def test_numbers_out_of_range_are_refused(dim, memory_limit):
    with pytest.raises(ValueError, match=f"`dim` must be at least 1.*dim={dim}, memory_limit={memory_limit}"):
        IncrementalPCAWhitening(dim, memory_limit)


@pytest.mark.parametrize("shape", [(9,), (0, 50), (9, 4)])
def test_a_first_batch_of_a_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"`batch` must be \[n, D, D of at least `dim`, 5\], with n of at least 1"):
        IncrementalPCAWhitening(5).update(np.zeros(shape))


@pytest.mark.parametrize("shape", [(9,), (0, 50), (9, 51)])
def test_a_later_batch_of_a_wrong_shape_is_refused(draw, shape):
    whitening = IncrementalPCAWhitening(5)
    whitening.update(draw(20, 50))

    with pytest.raises(ValueError, match=r"`batch` must be \[n, 50\], with n of at least 1"):
        whitening.update(np.zeros(shape))


def test_a_broken_batch_is_refused_whole(draw):
    samples = draw(60, 50)
    broken = draw(9, 50, seed=1)
    broken[[3, 5], 7] = np.nan, np.inf
    whitening = IncrementalPCAWhitening(5, FULL)
    whitening.update(samples)

    with pytest.raises(ValueError, match="`batch` must hold finite numbers only.*2 of 9 rows"):
        whitening.update(broken)

    assert whitening.count == 60
    _assert_same_fit(whitening.finish(), fit_pca_whitening(samples, 5))


def test_too_few_samples_name_the_largest_dimension(draw):
    whitening = IncrementalPCAWhitening(20)
    whitening.update(draw(20, 50))

    with pytest.raises(ValueError, match=r"`dim` must be at most 19 .*dim=20 after 20 samples of width 50"):
        whitening.finish()
    whitening.update(draw(20, 50, seed=1))
    assert whitening.finish().projection.shape == (50, 20)


@pytest.mark.parametrize("memory_limit", [FULL, _sketched(30, 50)])
def test_repeated_samples_name_the_largest_dimension_they_give(draw, memory_limit):
    with pytest.raises(ValueError, match="`dim` must be at most 7, the number of directions in which the 24 samples"):
        _fit(10, [draw(8, 50)] * 3, memory_limit)


def test_without_samples_there_is_nothing_to_finish():
    with pytest.raises(ValueError, match="`dim` must be at most 0.*after 0 samples"):
        IncrementalPCAWhitening(5).finish()


def test_a_finished_fit_takes_nothing_more(draw):
    _, whitening = _fit(5, [draw(60, 50)])

    for use in (whitening.finish, lambda: whitening.update(draw(60, 50))):
        with pytest.raises(RuntimeError, match="finished: fit on further descriptors with a new one"):
            use()


def test_stream_of_too_few_different_rows_goes_on_with_more_or_fewer_dimensions(draw):
    repeated = np.tile(draw(8, 50), (3, 1))
    whitening = IncrementalPCAWhitening(10)
    whitening.update(repeated)
    with pytest.raises(ValueError, match="`dim` must be at most 7, the number of directions"):
        whitening.finish()

    _assert_same_fit(whitening.finish(dim=5), fit_pca_whitening(repeated, 5))


def test_stream_of_which_only_the_matrix_is_left_says_that_it_is_used_up(draw):
    whitening = IncrementalPCAWhitening(10)
    whitening.update(np.tile(draw(8, 50), (20, 1)))
    with pytest.raises(ValueError, match="`dim` must be at most 7.*The fit is used up: read the descriptors again"):
        whitening.finish()
    with pytest.raises(RuntimeError, match="finished"):
        whitening.finish(dim=5)
