"""A hidden Markov model over the places where the photos of a walk may have been taken."""

import itertools
from dataclasses import dataclass

import numpy as np

from keras_sare.localization.sequences.motion import Motion
from keras_sare.utils.arguments import plain_arguments

_COVERED = 0.9
_NOT_YET = -2
_NO_MORE = -1


@dataclass(frozen=True, eq=False)
class Track:
    """Where the F photos of a walk were taken.

    Attributes:
        path: int64 [F], the candidate of each photo on the most probable way; -1 where the place is not among them.
        positions: float64 [F, 2 or 3] metres: around that candidate, and between those before and after where there is
            none and they are near enough for `motion`; NaN where no photo has one.
        probability: float64 [F] that the photo was taken within the radius of its position, given all photos of the
            walk; as good as the weights are. NaN where there is no position.
        uncertainty: float64 [F] metres around the position within which nine tenths of that probability lie; NaN where
            more than a tenth lies nowhere.
        latest: int64 [F], the most probable candidate given no later photo; -1 where there is none.
    """

    path: np.ndarray
    positions: np.ndarray
    probability: np.ndarray
    uncertainty: np.ndarray
    latest: np.ndarray


@plain_arguments
def track_places(
    scores: np.ndarray, positions: np.ndarray, motion: Motion | None = None, radius: float = 25.0
) -> Track:
    """Finds the way through the candidates of a walk's photos.

    A state of the model is a candidate of the present photo, or one of the last photos that showed a candidate's place
    (`Motion.memory`: the place is not among the candidates since), or none: not yet, or no more. Weights of steps are
    those of `Motion`, whatever the direction; weights of photos those of `estimate_positions`. The way is that of the
    Viterbi algorithm (Viterbi, IEEE Transactions on Information Theory, 1967), probabilities are those of the forward
    and the backward pass (Rabiner, "A tutorial on hidden Markov models", Proceedings of the IEEE, 1989, section III).
    Time grows with the photos and with (k x memory)^2, memory with the photos and k x memory.

    Args:
        scores: [F, k] cosine similarities of the candidates of each photo in the order of the walk; NaN where a photo
            has fewer than k, or none.
        positions: [F, k, 2 or 3] their positions, metres.
        motion: of the walk.
        radius: metres within which candidates agree.

    Raises:
        ValueError: shapes do not agree, or `radius` is not positive.
    """
    scores = np.asarray(scores, np.float64)
    positions = np.asarray(positions, np.float64)
    if scores.ndim != 2 or positions.ndim != 3 or positions.shape[:2] != scores.shape or not scores.shape[1]:
        raise ValueError(
            "`scores` must be [F, k] and `positions` [F, k, 2 or 3], of one candidate at least. "
            f"Received: scores.shape={scores.shape}, positions.shape={positions.shape}"
        )
    if not radius > 0:
        raise ValueError(f"`radius` must be positive. Received: radius={radius}")
    trellis = _Trellis(scores, positions, motion or Motion())
    path = trellis.best_path()
    before = trellis.forward()
    both = before + trellis.backward()
    shares = np.exp(both - _log_sum(both, axis=1, keepdims=True))
    here = _between(path, _around(path, shares, trellis, radius), trellis.motion)
    probability, uncertainty = _spread(here, shares, trellis, radius)
    return Track(path, here, probability, uncertainty, trellis.latest(before))


class _Trellis:
    """Log weights of states and steps.

    States of a photo: its candidates; those of the photos before it, one after the other; no place yet; none any more.
    """

    def __init__(self, scores: np.ndarray, positions: np.ndarray, motion: Motion) -> None:
        self.count, self.k, self.axes = positions.shape
        self.motion = motion
        self._blocks = motion.memory + 1
        self.size = self._blocks * self.k + 2
        self._weights = self._log_weights(scores)
        self._positions = np.where(np.isfinite(scores)[:, :, None], positions, np.nan)

    def best_path(self) -> np.ndarray:
        """The candidate of each photo on the best way, -1 for none (Viterbi)."""
        if not self.count:
            return np.zeros(0, np.int64)
        best = self._start()
        came: list[np.ndarray] = []
        for photo in range(1, self.count):
            steps = best[:, None] + self._steps(photo)
            came.append(steps.argmax(axis=0))
            best = steps.max(axis=0) + self._emitted(photo)
        states = [int(best.argmax())]
        for before in reversed(came):
            states.append(int(before[states[-1]]))
        return np.array([state if state < self.k else -1 for state in reversed(states)])

    def forward(self) -> np.ndarray:
        """Log weights of the states, given the photos so far: [F, states], each photo's relative to its greatest."""
        rows = np.zeros((self.count, self.size))
        for photo in range(self.count):
            if photo:
                weights = _log_sum(rows[photo - 1][:, None] + self._steps(photo), axis=0) + self._emitted(photo)
            else:
                weights = self._start()
            rows[photo] = weights - weights.max()
        return rows

    def backward(self) -> np.ndarray:
        """Log weights of the photos after each, given its states: [F, states]."""
        rows = np.zeros((self.count, self.size))
        for photo in reversed(range(1, self.count)):
            after = _log_sum(self._steps(photo) + (rows[photo] + self._emitted(photo))[None], axis=1)
            rows[photo - 1] = after - after.max()
        return rows

    def latest(self, before: np.ndarray) -> np.ndarray:
        """The best candidate of each photo, given the photos so far."""
        mine = before[:, : self.k]
        return np.where(np.isfinite(mine).any(axis=1), mine.argmax(axis=1), -1)

    def places(self, photo: int) -> np.ndarray:
        """Where each state of a photo is: [states, 2 or 3], NaN where it is nowhere."""
        rows = [self._candidates(photo - age) for age in range(self._blocks)]
        return np.concatenate([*rows, np.full((2, self.axes), np.nan)])

    def _candidates(self, photo: int) -> np.ndarray:
        return self._positions[photo] if photo >= 0 else np.full_like(self._positions[0], np.nan)

    def _log_weights(self, scores: np.ndarray) -> np.ndarray:
        there = np.isfinite(scores)
        top = np.where(there, scores, -1.0).max(axis=1, keepdims=True, initial=-1.0)
        return np.where(there, (np.where(there, scores, 0.0) - top) / self.motion.temperature, -np.inf)

    def _emitted(self, photo: int) -> np.ndarray:
        unseen = np.log(self.motion.unseen) if np.isfinite(self._weights[photo]).any() else 0.0
        return np.concatenate([self._weights[photo], np.full(self.size - self.k, unseen)])

    def _start(self) -> np.ndarray:
        """Of the first photo: it shows one of its candidates, or none."""
        weights = self._emitted(0)
        weights[self.k :] = -np.inf
        weights[_NOT_YET] = self._emitted(0)[_NOT_YET]
        return weights

    def _steps(self, photo: int) -> np.ndarray:
        """From the states of the photo before to those of this one."""
        steps = np.full((self.size, self.size), -np.inf)
        remembered = np.arange(self.motion.memory * self.k)
        steps[remembered, self.k + remembered] = 0.0
        steps[len(remembered) :, _NO_MORE] = 0.0
        steps[_NOT_YET] = -np.inf
        steps[_NOT_YET, _NOT_YET] = 0.0
        steps[:, : self.k] = self._walked(photo)
        return steps

    def _walked(self, photo: int) -> np.ndarray:
        """From wherever it was to the candidates of a photo."""
        motion = self.motion
        apart = np.linalg.norm(self.places(photo - 1)[:, None] - self._positions[photo][None], axis=2)
        photos = np.append(np.repeat(np.arange(1, self._blocks + 1), self.k), [1, 1])
        beyond = np.maximum(apart - motion.speed * photos[:, None], 0) / motion.slack
        weights = np.fmax(-0.5 * beyond**2, np.log(motion.jump))
        weights[_NOT_YET] = 0.0
        return weights


def _around(path: np.ndarray, shares: np.ndarray, trellis: _Trellis, radius: float) -> np.ndarray:
    """Mean around each candidate of the path; NaN where there is none."""
    found = np.full((trellis.count, trellis.axes), np.nan)
    for photo in np.flatnonzero(path >= 0).tolist():
        places = trellis.places(photo)[: trellis.k]
        near = np.linalg.norm(places - places[path[photo]], axis=1) <= radius
        weights = np.maximum(shares[photo, : trellis.k][near], np.finfo(np.float64).tiny)
        found[photo] = weights @ places[near] / weights.sum()
    return found


def _between(path: np.ndarray, found: np.ndarray, motion: Motion) -> np.ndarray:
    """Positions of all photos: on the line between those before and after, and at the one before where they jump."""
    seen = np.flatnonzero(path >= 0)
    if not len(seen):
        return found
    here = found[seen[np.maximum(np.searchsorted(seen, np.arange(len(path)), side="right") - 1, 0)]]
    for first, last in itertools.pairwise(seen.tolist()):
        step = found[last] - found[first]
        if np.linalg.norm(step) <= (last - first) * motion.speed + 3 * motion.slack:
            parts = np.arange(last - first) / (last - first)
            here[first:last] = found[first] + parts[:, None] * step
    return here


def _spread(here: np.ndarray, shares: np.ndarray, trellis: _Trellis, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Probability within the radius of a position, and metres around it that hold nine tenths of it."""
    probability = np.full(len(here), np.nan)
    uncertainty = np.full(len(here), np.nan)
    for photo in range(len(here)):
        apart = np.linalg.norm(trellis.places(photo) - here[photo], axis=1)
        probability[photo] = shares[photo, apart <= radius].sum()
        order = np.argsort(apart)
        reached = np.searchsorted(np.cumsum(shares[photo, order]), _COVERED)
        uncertainty[photo] = apart[order[min(int(reached), len(order) - 1)]]
    return np.where(np.isfinite(here[:, 0]), probability, np.nan), uncertainty


def _log_sum(values: np.ndarray, axis: int, keepdims: bool = False) -> np.ndarray:
    from scipy.special import logsumexp  # A client of the server, which needs the answers' classes alone, has no SciPy.

    return np.asarray(logsumexp(values, axis=axis, keepdims=keepdims))
