"""Makes tfa_oracle.json: losses of TensorFlow Addons on a few seeded embeddings, which the tests compare with ours.

TensorFlow Addons is no longer maintained and does not import beside Keras 3, so it needs an environment of its own:

    python3.11 -m venv /tmp/tfa
    /tmp/tfa/bin/pip install tensorflow-cpu==2.15.1 tensorflow-addons==0.23.0 'numpy<2'
    /tmp/tfa/bin/python tests/data/make_tfa_oracle.py

What it writes, for two views of each of five places (rows 2i and 2i+1 of `embeddings`):

* `squared_distances`: all pairs of rows;
* `contrastive`: all pairs of rows, y d^2 + (1 - y) max(margin - d, 0)^2 with the unsquared d: twice ours for a pair;
* `soft_triplet_squared` and `soft_triplet`: mean over rows of log(1 + exp(d_p - d_n)) with the hardest negative, for
  the squared and the unsquared distance: SARE with one negative, Gaussian and exponential kernel;
* `n_pairs`: mean over places of the cross entropy of softmax(2 q.p) over all second views. Between unit vectors that is
  the joint Gaussian SARE, whose negatives are the second views of the other places.
"""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa
from tensorflow_addons.losses import metric_learning

PLACES = 5
DIM = 6
MARGIN = 1.4


def embeddings() -> np.ndarray:
    """Unit vectors, [2 * PLACES, DIM]; both views of a place lie near each other."""
    random = np.random.default_rng(7)
    views = np.repeat(random.normal(size=(PLACES, DIM)), 2, axis=0) + 0.4 * random.normal(size=(2 * PLACES, DIM))
    return (views / np.linalg.norm(views, axis=1, keepdims=True)).astype("float32")


def main() -> None:
    """Writes tfa_oracle.json beside this file."""
    x = embeddings()
    places = np.repeat(np.arange(PLACES), 2)
    same = places[:, None] == places[None, :]
    distances = metric_learning.pairwise_distance(x)
    losses = {
        "squared_distances": metric_learning.pairwise_distance(x, squared=True),
        "contrastive": tfa.losses.contrastive_loss(same, distances, margin=MARGIN),
        "soft_triplet_squared": tfa.losses.triplet_hard_loss(places, x, soft=True, distance_metric="squared-L2"),
        "soft_triplet": tfa.losses.triplet_hard_loss(places, x, soft=True, distance_metric="L2"),
        "n_pairs": tfa.losses.npairs_loss(np.arange(PLACES), 2 * x[::2] @ x[1::2].T),
    }
    oracle = {
        "versions": {"tensorflow": tf.__version__, "tensorflow-addons": tfa.__version__},
        "margin": MARGIN,
        "embeddings": x.tolist(),
        **{name: value.numpy().tolist() for name, value in losses.items()},
    }
    Path(__file__).with_name("tfa_oracle.json").write_text(json.dumps(oracle) + "\n")


if __name__ == "__main__":
    main()
