import numpy as np
import pytest
from scipy.spatial import cKDTree

from keras_sare.datasets.photo_import.roles import (
    DATABASE,
    NO_ROLE,
    QUERY,
    roles_by_share,
    roles_by_traversal,
    roles_of_held_out,
)

STREET = np.stack([np.arange(0, 1000, 10.0), np.zeros(100)], axis=1)
RADIUS = 25.0


def walks(*ways):
    """Positions, walks and times; each walk a day later than the one before."""
    positions = np.concatenate(ways)
    walk = np.repeat(np.arange(len(ways)), [len(way) for way in ways])
    seconds = 86400.0 * walk + np.concatenate([np.arange(len(way)) for way in ways])
    return positions, walk, seconds


def test_the_newest_walk_is_looked_up_in_the_older_ones():
    positions, walk, seconds = walks(STREET, STREET + [0, 4], STREET + [0, 8])
    order = np.random.default_rng(0).permutation(300)
    roles = roles_by_traversal(positions[order], walk[order], seconds[order], RADIUS, 0.35)
    assert set(walk[order][roles == QUERY].tolist()) == {2}
    assert (roles == QUERY).sum() == 100


def test_of_two_walks_one_is_the_queries():
    roles = roles_by_traversal(*walks(STREET, STREET + [0, 4]), RADIUS, 0.35)
    assert roles.tolist() == [DATABASE] * 100 + [QUERY] * 100


def test_every_query_has_an_answer_of_another_walk_and_none_of_its_own_is_near():
    positions, walk, seconds = walks(STREET, STREET[:60] + [300, 4], STREET + [0, 5000], STREET[:50] + [50, 5004])
    roles = roles_by_traversal(positions, walk, seconds, RADIUS, 0.5)
    for number in range(4):
        own = (walk == number) & (roles == QUERY)
        database = roles == DATABASE
        if own.any():
            assert cKDTree(positions[database & (walk != number)]).query(positions[own])[0].max() <= RADIUS
            left = positions[database & (walk == number)]
            assert not len(left) or cKDTree(left).query(positions[own])[0].min() > RADIUS
    assert set(walk[roles == QUERY].tolist()) == {1, 3}
    assert (roles == NO_ROLE).any() == bool(((walk == 1) & (positions[:, 0] > 1000)).any())


def test_streets_that_were_seen_once_have_no_queries_of_another_walk():
    assert roles_by_traversal(*walks(STREET, STREET + [0, 500]), RADIUS, 0.35) is None


def test_walks_without_times_have_queries_too():
    positions, walk, _ = walks(STREET, STREET + [0, 4])
    roles = roles_by_traversal(positions, walk, np.full(200, np.nan), RADIUS, 0.35)
    assert (roles == QUERY).sum() == 100


def test_what_is_held_out_is_looked_up_in_what_others_saw():
    positions, walk, _ = walks(STREET, STREET[:20] + [0, 4], STREET[20:40] + [0, 4])
    roles = roles_of_held_out(positions, walk, walk > 0, RADIUS)
    assert set(walk[roles == QUERY].tolist()) == {1, 2}
    assert (roles[walk == 0] == DATABASE).all()
    assert roles_of_held_out(positions + 1e4 * walk[:, None], walk, walk > 0, RADIUS) is None
    assert roles_of_held_out(positions, walk, walk >= 0, RADIUS) is None


@pytest.mark.parametrize("share", [0.0, 0.2, 0.35, 0.9])
def test_a_share_of_each_walk_are_queries_with_an_answer(share):
    positions, walk, seconds = walks(STREET, STREET + [0, 500])
    roles = roles_by_share(positions, walk, seconds, RADIUS, share)
    query = roles == QUERY
    if share < 0.5:
        assert [query[walk == number].mean() for number in (0, 1)] == pytest.approx([share, share], abs=0.02)
    if share:
        assert cKDTree(positions[~query]).query(positions[query])[0].max() <= RADIUS


def test_each_place_with_several_photos_has_a_query_and_a_database():
    places = np.repeat(np.array(["a", "b", "c", "d"], np.dtypes.StringDType()), [1, 2, 3, 10])
    roles = roles_by_share(None, places, np.full(16, np.nan), RADIUS, 0.35)
    counts = {place: (roles[places == place] == QUERY).sum() for place in "abcd"}
    assert counts == {"a": 0, "b": 1, "c": 1, "d": 4}
