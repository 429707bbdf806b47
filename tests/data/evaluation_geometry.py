"""Random descriptors on the real geometry of published test sets: for the public evaluation code and for ours."""

import numpy as np

DIM = 24
NOISE = {"pitts30k_test": 1.5, "tokyo247": 1.5}
"""How far queries are from a positive of theirs, so that about half are found."""


def descriptors(name, queries, database, seed=16):
    """Unit descriptors, float32 [Q, DIM] and [N, DIM].

    Those of one position, the cut-outs of a panorama, lie about one point; a query lies about an image nearest to it.

    Args:
        name: of the test set.
        queries: their positions, [Q, 2] metres.
        database: [N, 2] metres.
    """
    rng = np.random.default_rng(seed)
    positions, place = np.unique(database, axis=0, return_inverse=True)
    images = rng.standard_normal((len(positions), DIM))[place] + 0.5 * rng.standard_normal((len(database), DIM))
    nearest = np.array([np.square(database - one).sum(1).argmin() for one in queries])
    near = images[nearest] + NOISE[name] * rng.standard_normal((len(queries), DIM))
    return unit(near), unit(images)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
