"""Which photos of a split are queries, and which the database."""

import numpy as np
from scipy.spatial import cKDTree

_MOST_OF_ONE = 0.6
"""Share of a split that one walk may have to be its queries: of two walks one is."""
_MOST_OVER = 1.25
_ANSWERED = 0.5
"""Share of a walk's photos that must have been seen on another one."""
_LEAST_QUERIES = 0.05
DATABASE, QUERY, NO_ROLE = range(3)


def roles_by_traversal(
    positions: np.ndarray, traversals: np.ndarray, seconds: np.ndarray, radius: float, share: float
) -> np.ndarray | None:
    """Chooses queries from other walks than the database they are looked up in, the newest walks first.

    A photo of such a walk that nobody else took belongs to the database where no query of its own walk is near, and
    to neither role else.

    Args:
        positions: float64 [N, D] metres.
        traversals: [N], names or numbers of walks.
        seconds: float64 [N], when the photos were taken; NaN where that is not known.
        radius: metres within which a database image is right.
        share: of queries that is wanted.

    Returns:
        int8 [N]: `DATABASE`, `QUERY` or `NO_ROLE`; None where too few places were seen twice.
    """
    walk = np.unique(traversals, return_inverse=True)[1]
    members = np.split(np.argsort(walk, kind="stable"), np.cumsum(np.bincount(walk))[:-1])
    covered = [_covered(positions, own, radius) for own in members]
    answers = np.zeros(len(positions), np.int64)  # Walks of the database that saw the place of a photo.
    for photos in covered:
        answers[photos] += 1
    asked = np.zeros(len(members), bool)
    queries = 0
    for number in _newest_first(members, seconds):
        own = members[number]
        gained = int((answers[own] > 0).sum())
        most = max(_MOST_OVER * share * len(positions), 0 if queries else _MOST_OF_ONE * len(positions))
        unanswered = covered[number][asked[walk[covered[number]]] & (answers[covered[number]] == 1)]
        if queries + len(own) <= most and gained >= _ANSWERED * len(own) and gained > 2 * len(unanswered):
            asked[number] = True
            answers[covered[number]] -= 1
            queries += gained - len(unanswered)
    query = asked[walk] & (answers > 0)
    return _with_database(positions, walk, asked, query, radius) if query.mean() >= _LEAST_QUERIES else None


def roles_of_held_out(
    positions: np.ndarray, traversals: np.ndarray, queries: np.ndarray, radius: float
) -> np.ndarray | None:
    """Makes certain photos the queries and the others of a split their database, where half of them are found there.

    Args:
        positions: as of `roles_by_traversal`, and so are the others.
        traversals: names or numbers of walks.
        queries: bool [N].
        radius: metres.
    """
    if queries.all() or not queries.any():
        return None
    walk = np.unique(traversals, return_inverse=True)[1]
    found = queries & (cKDTree(positions[~queries]).query(positions)[0] <= radius)
    if found.sum() < _ANSWERED * queries.sum():
        return None
    # What was held out is one walk here, though it may be several.
    walk[queries] = walk.max() + 1
    asked = np.isin(np.arange(walk.max() + 1), walk[queries])
    return _with_database(positions, walk, asked, found, radius)


def roles_by_share(
    positions: np.ndarray | None, traversals: np.ndarray, seconds: np.ndarray, radius: float, share: float
) -> np.ndarray:
    """Takes photos of each walk as queries at equal steps, where the database has another near.

    Args:
        positions: None where a traversal is a place.
        traversals: as of `roles_by_traversal`, and so are the others.
        seconds: when the photos were taken.
        radius: metres.
        share: of queries.

    Returns:
        int8 [N]: `DATABASE` or `QUERY`.
    """
    walk, counts = np.unique(traversals, return_inverse=True, return_counts=True)[1:]
    order = np.lexsort((np.arange(len(walk)), seconds, walk))
    last = np.cumsum(counts) - 1
    step = np.arange(len(order)) - np.repeat(last + 1 - counts, counts)
    query = np.zeros(len(walk), bool)
    # The first photo of a walk is never one, and of a place with several the last always is.
    query[order] = (np.floor((step + 1) * share) > np.floor(step * share)) & (step > 0)
    if positions is None:
        query[order[last[counts > 1]]] = True
    elif query.any():
        query &= cKDTree(positions[~query]).query(positions)[0] <= radius
    return np.where(query, QUERY, DATABASE).astype(np.int8)


def _newest_first(members: list[np.ndarray], seconds: np.ndarray) -> list[int]:
    starts = [np.nan_to_num(np.nanmin(seconds[own], initial=np.inf), posinf=-np.inf) for own in members]
    return sorted(range(len(members)), key=lambda number: -starts[number])


def _covered(positions: np.ndarray, own: np.ndarray, radius: float) -> np.ndarray:
    """Photos of other walks that have one of this walk near: indices."""
    lowest = positions[own].min(axis=0) - radius
    highest = positions[own].max(axis=0) + radius
    inside = np.all((positions >= lowest) & (positions <= highest), axis=1)
    inside[own] = False
    others = np.flatnonzero(inside)
    return others[cKDTree(positions[own]).query(positions[others])[0] <= radius]


def _with_database(
    positions: np.ndarray, walk: np.ndarray, asked: np.ndarray, query: np.ndarray, radius: float
) -> np.ndarray:
    roles = np.where(query, QUERY, DATABASE).astype(np.int8)
    for number in np.flatnonzero(asked):
        rest = np.flatnonzero((walk == number) & ~query)
        own = np.flatnonzero((walk == number) & query)
        if len(rest) and len(own):
            near = cKDTree(positions[own]).query(positions[rest])[0] <= radius
            roles[rest[near]] = NO_ROLE
    return roles
