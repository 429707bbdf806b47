import numpy as np
import pytest

from keras_sare.mining import candidates
from keras_sare.mining.candidates import nearest_candidates


@pytest.fixture
def given():
    """Descriptors of small whole numbers, whose distances are exact, and lists of different lengths."""
    rng = np.random.default_rng(2)
    queries, database = (rng.integers(-2, 3, (count, 6)).astype("float32") for count in (30, 400))
    return queries, database, [np.unique(rng.integers(0, 400, rng.integers(8, 60))) for _ in range(30)]


def naive(queries, database, lists, count):
    found = []
    for query, rows in zip(queries, lists, strict=True):
        found.append(sorted((float(((query - database[row]) ** 2).sum()), int(row)) for row in rows)[:count])
    return np.array(found)


@pytest.mark.parametrize("gain", [1e-9, 64, 1e9], ids=["fetched pairs", "as it comes", "matrix product"])
@pytest.mark.parametrize("memory_limit", [1, 5000, 1e9])
@pytest.mark.parametrize("count", [1, 4])
def test_equals_a_naive_loop_however_it_is_computed(given, gain, memory_limit, count, monkeypatch):
    monkeypatch.setattr(candidates, "_PRODUCT_GAIN", gain)
    monkeypatch.setattr(candidates, "_FETCHED", 100)

    distances, rows = nearest_candidates(*given, count, memory_limit)

    expected = naive(*given, count)
    np.testing.assert_array_equal(distances, expected[..., 0])
    np.testing.assert_array_equal(rows, expected[..., 1])
    assert (distances.dtype, rows.dtype) == (np.float32, np.int64)


def test_rows_held_at_a_time_stay_within_the_limit_and_each_is_read_once_in_order(given, monkeypatch):
    queries, database, lists = given
    real = candidates.read_rows
    read = []
    monkeypatch.setattr(candidates, "read_rows", lambda array, rows: (read.append(rows), real(array, rows))[1])

    nearest_candidates(queries, database.astype("float16"), lists, 3, memory_limit=10_000)

    # Six numbers in float16 and again in float32, and 30 distances.
    held = 10_000 // (6 * (2 + 4) + 30 * 4)
    assert max(rows[-1] - rows[0] + 1 for rows in read) <= held < 400
    np.testing.assert_array_equal(np.concatenate(read), np.unique(np.concatenate(lists)))


def test_a_run_of_rows_of_a_float32_memory_map_is_read_in_place(given, tmp_path):
    np.save(tmp_path / "database.npy", given[1])
    mapped = np.load(tmp_path / "database.npy", mmap_mode="r")

    assert np.shares_memory(candidates.read_rows(mapped, np.arange(20, 90)), mapped)


def test_a_broken_descriptor_is_named(given):
    queries, database, lists = given
    database[lists[7][2]] = np.nan

    with pytest.raises(ValueError, match=f"finite numbers.*distance of nan to database row {lists[7][2]}$"):
        nearest_candidates(queries, database, lists, 3, 1e9)
