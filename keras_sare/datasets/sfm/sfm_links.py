"""3D models that show the same building although they share no photo, found by matches and by models between them."""

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

logger = logging.getLogger(__name__)

LINKING_MATCHES = 30
"""Verified matches between two photos that join their models into one cluster.

So many COLMAP too wants before it registers a photo (`abs_pose_min_num_inliers`). Among photos of a real street, pairs
of different models with fewer matches mostly had a traffic sign or a house in the far background in common.
"""

# Of COLMAP's two-view geometries: calibrated and uncalibrated. Two photos of one traffic sign are matched too, by a
# plane: a geometry of three dimensions says that more than that is the same.
_GENERAL = (2, 3)
# COLMAP numbers a pair of images `first * _LARGEST + second`.
_LARGEST = 2147483647


def linked_models(
    database: str | os.PathLike[str] | None,
    names: np.ndarray,
    models: np.ndarray,
    min_matches: int = LINKING_MATCHES,
    shared: np.ndarray | None = None,
) -> np.ndarray:
    """Joins models between whose photos COLMAP verified matches.

    Two models are joined where a photo of one and a photo of the other have at least `min_matches` verified matches of
    a general geometry, not just of a plane or a turn on the spot; and so are models that are joined to a common one.

    Args:
        database: COLMAP's database, a file. None: only `shared` joins.
        names: StringDType [N] names of the photos in the database.
        models: int64 [N] model of each photo.
        min_matches: fewer do not join.
        shared: int64 [L, 2] pairs of models that are joined in any case, because they have photos in common. They may
            be others than those of `models`, which then join these by way of them.

    Returns:
        int64 [N] cluster of each photo: the smallest number of its models.

    Raises:
        ValueError: `database` is no database of COLMAP, or `min_matches` is not positive.
    """
    if min_matches < 1:
        raise ValueError(f"`min_matches` must be at least 1. Received: min_matches={min_matches}")
    links = np.empty((0, 2), np.int64) if shared is None else shared
    if database is not None:
        links = np.concatenate([links, _matching(Path(database), names, models, min_matches)])
    numbers = np.unique(models)
    clusters = _joined(numbers, links)
    for cluster in np.unique(clusters[clusters != numbers]).tolist():
        logger.info(
            "Models %s show the same building: one cluster", ", ".join(map(str, numbers[clusters == cluster].tolist()))
        )
    return clusters[np.searchsorted(numbers, models)]


def _joined(numbers: np.ndarray, links: np.ndarray) -> np.ndarray:
    """For each of `numbers` the smallest one of them that links, by way of any others, lead to."""
    nodes, ends = np.unique(np.concatenate([numbers, links.ravel()]), return_inverse=True)
    own = ends[: len(numbers)]
    ends = ends[len(numbers) :].reshape(-1, 2)
    graph = csr_array((np.ones(len(ends), np.int8), tuple(ends.T)), shape=(len(nodes), len(nodes)))
    component = connected_components(graph, directed=False)[1][own]
    smallest = np.full(len(nodes), np.iinfo(np.int64).max)
    np.minimum.at(smallest, component, numbers)
    return smallest[component]


def _matching(database: Path, names: np.ndarray, models: np.ndarray, min_matches: int) -> np.ndarray:
    """int64 [L, 2] models that matches join."""
    model_of, pairs = _read(database, names, models, min_matches)
    ends = model_of[np.minimum(pairs, len(model_of) - 1)]
    # -1 is of photos of no model, which have no say.
    return ends[(ends >= 0).all(axis=1)]


def _read(database: Path, names: np.ndarray, models: np.ndarray, min_matches: int) -> tuple[np.ndarray, np.ndarray]:
    """Model of each image id, -1 for none, and int64 [P, 2] ids of the photos that are linked."""
    if not database.is_file():
        raise ValueError(f"`database` must be a file: COLMAP's database.db. Received: database={database}")
    try:
        # Not "ro": such a connection, closed last, leaves the write-ahead log's files behind.
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            ids = dict(connection.execute("SELECT name, image_id FROM images"))
            rows = connection.execute(
                f"SELECT pair_id FROM two_view_geometries WHERE rows >= ? AND config IN {_GENERAL}", (min_matches,)
            )
            pair_ids = np.fromiter((pair for (pair,) in rows), np.int64)
    except sqlite3.DatabaseError as error:
        raise ValueError(
            f"`database` must be a database that COLMAP wrote: {error}. Received: database={database}"
        ) from error
    model_of = np.full(max(ids.values(), default=0) + 2, -1, np.int64)
    known = [(ids[name], model) for name, model in zip(names.tolist(), models.tolist(), strict=True) if name in ids]
    if len(known) < len(names):
        logger.warning("%s knows %d of %d photos of the models", database, len(known), len(names))
    for image_id, model in known:
        model_of[image_id] = model
    return model_of, np.stack([pair_ids // _LARGEST, pair_ids % _LARGEST], axis=1)
