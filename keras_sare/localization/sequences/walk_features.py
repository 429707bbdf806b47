"""What speaks for the way that was found for a walk."""

import numpy as np

from keras_sare.localization.sequences.hidden_markov import Track
from keras_sare.utils.arguments import plain_arguments

_LEAST = 1e-4


@plain_arguments
def walk_features(track: Track, scores: np.ndarray, positions: np.ndarray, radius: float = 25.0) -> np.ndarray:
    """What `Calibration` judges the answers to a walk's photos by.

    The log odds of the model's own probability, which says whether other ways fit as well but takes the photos as
    independent; and, the same for all photos of the walk, how much more similar they are to candidates along the way
    than to others, in the mean. Two ways that both fit badly have no such margin.

    Args:
        track: the way.
        scores: [F, k] cosine similarities, as the way was found from.
        positions: [F, k, 2 or 3] of the candidates, metres.
        radius: metres within which a candidate is on the way.

    Returns:
        float64 [F, 2]; 0 where there is no answer.
    """
    answered = np.isfinite(track.probability)
    rows = np.flatnonzero(answered & np.isfinite(scores).any(axis=1))
    features = np.zeros((len(scores), 2))
    if not len(rows):
        return features
    probability = np.clip(track.probability[answered], _LEAST, 1 - _LEAST)
    features[answered, 0] = np.log(probability / (1 - probability))
    on_the_way = np.linalg.norm(positions[rows] - track.positions[rows, None], axis=2) <= radius
    features[answered, 1] = np.mean(_best(scores[rows], on_the_way) - _best(scores[rows], ~on_the_way))
    return features


def _best(scores: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Of the chosen candidates; the last one's where none is chosen, as in `estimate_positions`."""
    there = np.isfinite(scores)
    best = np.where(chosen & there, scores, -np.inf).max(axis=1)
    return np.where(np.isfinite(best), best, np.where(there, scores, np.inf).min(axis=1))
