import numpy as np
import pytest

from keras_sare.training.stage_timer import StageTimer


@pytest.fixture
def miner(make_small_trainer):
    return make_small_trainer().miner


def test_windows_hold_every_query_once_in_an_order_of_the_epochs_own(miner):
    first = miner.windows(1)
    again = miner.windows(1)
    second = miner.windows(2)
    assert [len(window) for window in first] == [4, 4, 4]
    np.testing.assert_array_equal(np.concatenate(first), np.concatenate(again))
    for windows in (first, second):
        assert sorted(np.concatenate(windows)) == list(range(12))
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))


def test_windows_of_broken_steps_are_rounded_down_to_whole_ones(make_small_trainer):
    assert [len(window) for window in make_small_trainer(refresh_every=5).miner.windows(1)] == [4, 4, 4]
    windows = make_small_trainer(refresh_every=11).miner.windows(1)
    assert [len(window) for window in windows] == [10, 2]
    assert sorted(np.concatenate(windows)) == list(range(12))


def test_queries_at_the_end_of_the_epoch_that_fill_no_step_are_left_out(make_small_trainer):
    miner = make_small_trainer(tuples_per_step=5, refresh_every=9).miner
    windows = miner.windows(1)
    assert [len(window) for window in windows] == [5, 5]
    assert len(np.unique(windows)) == 10


def test_tuples_are_query_positive_and_negatives(miner):
    queries = np.array([7, 2, 5, 4])
    times = StageTimer()
    window = miner.mine(queries, 1, times)
    assert window.tuples.shape == (4, 4)
    np.testing.assert_array_equal(window.tuples[:, 0], queries + 12)
    np.testing.assert_array_equal(window.tuples[:, 1], queries)  # each query's place has one image
    np.testing.assert_array_equal(window.tuples[:, 2:], miner.state_dict()["remembered"][queries])
    assert (np.delete(miner.state_dict()["remembered"], queries, 0) == -1).all()
    assert 0 < times.seconds()["mining"] < times.seconds()["total"]


def test_tuples_whose_hardest_negative_is_within_the_margin_are_counted(miner):
    queries = np.arange(12)
    window = miner.mine(queries, 1, StageTimer())
    descriptors = miner.train.extract(miner.extractor, np.arange(24), "all")
    query, positive, negative = (descriptors[window.tuples[:, i]] for i in range(3))
    near = ((query - positive) ** 2).sum(1)
    far = ((query - negative) ** 2).sum(1)
    assert window.violating == np.sum(far - near < 0.1)
    assert 0 < window.violating < 12


def test_database_images_are_queries_too_where_that_is_asked_for(make_small_trainer):
    # Places are 40 m apart: within 44 m an image has both neighbours on the line, and never itself.
    changed = {"positive_radius": 44.0, "negative_radius": 44.0, "refresh_every": 24}
    miner = make_small_trainer(database_queries=True, **changed).miner
    assert len(miner.state_dict()["remembered"]) == 24
    [queries] = miner.windows(1)
    window = miner.mine(queries, 1, StageTimer())
    assert sorted(window.tuples[:, 0]) == list(range(24))  # ids: database, then queries
    for query, positive, *negatives in window.tuples:
        place = query % 12
        assert positive != query
        assert abs(positive - place) <= 1
        assert all(abs(negative - place) > 1 for negative in negatives)
    assert set(window.tuples[:, 1:].ravel()) <= set(range(12))
    [queries] = make_small_trainer(**changed).miner.windows(1)
    assert sorted(queries) == list(range(12))
