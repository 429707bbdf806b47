"""How sure an answer is: a probability that means what it says, and a radius in metres."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.choices import check_choice

_BINS = 10
_COVERED = 0.9
_FEWEST = 50
_SMALLEST_MARGIN = 1e-4
FEATURES = {"photos": 3, "near": 3, "reranked": 4, "walks": 2}
"""Kinds of answers, each of which has a calibration of its own, and how many features speak for them."""

_LEVELS = 20
_FEWEST_KNOWN = 20
_MOST_CANDIDATES = 1000
_LISTS = ("mean", "scale", "weights", "probabilities", "radii", "thresholds", "precisions")


@dataclass(frozen=True)
class Calibration:
    """Turns what speaks for an answer into the probability that it is right.

    A logistic regression on what speaks for answers, fitted on photos whose position is known (Platt, "Probabilistic
    outputs for support vector machines", 1999). It is a few numbers, kept as JSON with the index. Answers of each kind
    have a calibration of their own: those of single "photos" and of photos "near" a rough position with the features of
    `Estimates`; "reranked" ones with a fourth, the inliers of the best candidate; those of "walks" with those of
    `walk_features`.

    Attributes:
        radius: metres within which an answer is right.
        mean, scale: of the features, one each.
        weights: of the scaled features.
        bias: of the regression.
        probabilities: rising probabilities of the photos it was fitted on, at most 10.
        radii: metres within which nine of ten answers of these probabilities were; never rising.
        thresholds: rising probabilities, at most 20, that few of these photos reach at last.
        precisions: share of right answers among those that reach a threshold.
        photos: number of photos it was fitted on.
        k: candidates of which the features were made; of more or fewer they mean something else.
        of: kind of the answers, a key of `FEATURES`.
    """

    radius: float
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    probabilities: tuple[float, ...]
    radii: tuple[float, ...]
    thresholds: tuple[float, ...]
    precisions: tuple[float, ...]
    photos: int
    k: int = 20
    of: str = "photos"

    @classmethod
    @plain_arguments
    def fit(
        cls, features: np.ndarray, errors: np.ndarray, radius: float = 25.0, k: int = 20, of: str = "photos"
    ) -> "Calibration":
        """Fits it on answers whose error is known.

        Args:
            features: [n, as many as `FEATURES` says]: of `Estimates`, with numbers of inliers last where answers were
                re-ranked, or of `walk_features`.
            errors: [n] metres between the answer and the truth.
            radius: metres within which an answer is right.
            k: candidates of which the features were made.
            of: kind of the answers, a key of `FEATURES`.

        Raises:
            ValueError: an error is not finite, there are fewer than 50 answers, or all of them are right, or all wrong:
                nothing can be learned from them. Or `k` is not in 1 to 1000, or there is no such kind of answers.
        """
        from sklearn.linear_model import LogisticRegression

        check_choice("of", of, FEATURES)
        if not np.isfinite(errors).all():
            raise ValueError("`errors` must be finite: leave photos without an answer out")
        right = np.asarray(errors) <= radius
        if len(right) < _FEWEST or right.all() or not right.any():
            raise ValueError(
                f"A calibration must see right and wrong answers of at least {_FEWEST} photos; add photos with known "
                f"positions. Received: {right.sum()} right and {(~right).sum()} wrong within {radius:g} m"
            )
        scaled = _scaled(features, of)
        mean = scaled.mean(axis=0)
        scale = np.maximum(scaled.std(axis=0), 1e-6)
        model = LogisticRegression().fit((scaled - mean) / scale, right)
        plain = {"mean": mean, "scale": scale, "weights": model.coef_[0]}
        found = cls(
            radius=float(radius),
            **{name: tuple(values.tolist()) for name, values in plain.items()},
            bias=float(model.intercept_[0]),
            probabilities=(),
            radii=(),
            thresholds=(),
            precisions=(),
            photos=len(right),
            k=k,
            of=of,
        )
        found = found._with_tables(found.probability(features), np.asarray(errors, np.float64), right)
        found._check()
        return found

    @plain_arguments
    def probability(self, features: np.ndarray) -> np.ndarray:
        """Probability that an answer is within `radius`, float64 [Q], of features as it was fitted on."""
        scaled = (_scaled(features, self.of) - np.array(self.mean)) / np.array(self.scale)
        # The logistic function, without overflow for answers that are far from those it was fitted on.
        return 0.5 * (1 + np.tanh(0.5 * (scaled @ np.array(self.weights) + self.bias)))

    @plain_arguments
    def uncertainty(self, probability: np.ndarray) -> np.ndarray:
        """Metres within which nine of ten answers of such probabilities were, float64 [Q]."""
        return np.interp(np.asarray(probability, np.float64), self.probabilities, self.radii)

    def threshold(self, precision: float) -> float:
        """Least probability at which the share of right answers was `precision` or more; 1 where none was.

        Args:
            precision: share of the answers that should be right, in (0, 1].

        Raises:
            ValueError: it is out of range.
        """
        if not 0 < precision <= 1:
            raise ValueError(f"`precision` must be above 0 and at most 1. Received: precision={precision}")
        reached = [p for p, share in zip(self.thresholds, self.precisions, strict=True) if share >= precision]
        return min(reached, default=1.0)

    def to_json(self) -> dict[str, Any]:
        """As plain numbers, for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Calibration":
        """The other way round.

        Raises:
            ValueError: `values` are not of a calibration.
        """
        try:
            found = cls(
                radius=float(values["radius"]),
                bias=float(values["bias"]),
                photos=int(values["photos"]),
                k=int(values.get("k", 20)),  # Indexes of before it was noted; as was the kind.
                of=str(values.get("of", "reranked" if len(values["weights"]) == FEATURES["reranked"] else "photos")),
                **{name: tuple(map(float, values[name])) for name in _LISTS},
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"A calibration must be as `to_json` gives it: {error}") from error
        found._check()
        return found

    def _check(self) -> None:
        counts = {len(self.mean), len(self.scale), len(self.weights)}
        if counts != {FEATURES.get(self.of)} or not self.probabilities:
            raise ValueError(
                f"A calibration must be of {', '.join(FEATURES)}, with numbers for their features and a table of "
                f"probabilities. Received: of={self.of[:32]!r}"
            )
        if len(self.probabilities) != len(self.radii) or len(self.thresholds) != len(self.precisions):
            raise ValueError("A calibration must have a radius for each probability, a precision for each threshold")
        numbers = [self.radius, self.bias, *(value for name in _LISTS for value in getattr(self, name))]
        if not np.isfinite(numbers).all() or min(self.scale) <= 0:
            raise ValueError("A calibration must have finite numbers, and scales above 0")
        if not 0 < self.k <= _MOST_CANDIDATES:
            raise ValueError(f"A calibration must be of 1 to {_MOST_CANDIDATES} candidates. Received: k={self.k}")

    def _with_tables(self, probability: np.ndarray, errors: np.ndarray, right: np.ndarray) -> "Calibration":
        order = np.argsort(probability, kind="stable")
        bins = [part for part in np.array_split(order, _BINS) if len(part)]
        radii = [float(np.quantile(errors[part], _COVERED, method="inverted_cdf")) for part in bins]
        surest = order[::-1]
        # Denser among the surest, where a high precision is reached; of fewer photos it would be chance.
        counts = np.unique(np.geomspace(_FEWEST_KNOWN, len(order), _LEVELS).round().astype(np.int64))[::-1]
        return replace(
            self,
            probabilities=tuple(float(probability[part].min()) for part in bins),
            # The surer, the nearer: what few photos say otherwise is chance.
            radii=tuple(np.minimum.accumulate(radii).tolist()),
            thresholds=tuple(float(probability[surest[count - 1]]) for count in counts),
            precisions=tuple(float(right[surest[:count]].mean()) for count in counts),
        )


def _scaled(features: np.ndarray, of: str) -> np.ndarray:
    """Margins of photos and numbers of inliers differ by orders of magnitude, so their logarithms count."""
    features = np.array(features, np.float64)
    if features.ndim != 2 or features.shape[1] != FEATURES[of]:
        raise ValueError(f"`features` must be [Q, {FEATURES[of]}] of {of}. Received: features.shape={features.shape}")
    if of != "walks":
        features[:, 1] = np.log(np.maximum(features[:, 1], _SMALLEST_MARGIN))
    if of == "reranked":
        features[:, 3] = np.log1p(features[:, 3])
    return features


@plain_arguments
def calibration_error(probability: np.ndarray, right: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Expected calibration error: how far stated probabilities are from the share of right answers.

    The mean over ten bins of equal width of |mean probability - share of right answers|, weighted by the answers in
    each (Naeini et al., AAAI 2015; Guo et al., "On calibration of modern neural networks", ICML 2017, section 2).

    Args:
        probability: [n] in [0, 1].
        right: [n], whether each answer was right.
        weights: [..., n], how often each answer counts; each once by default.

    Returns:
        float64 [...]; 0 where none counts.
    """
    weights = np.ones(len(probability)) if weights is None else np.asarray(weights, np.float64)
    bins = np.eye(_BINS)[_bins(probability, _BINS)]
    apart = weights @ (bins * np.subtract(probability, right, dtype=np.float64)[:, None])
    return np.asarray(np.abs(apart).sum(axis=-1) / np.maximum(weights.sum(axis=-1), np.finfo(np.float64).tiny))


@plain_arguments
def reliability(probability: np.ndarray, right: np.ndarray, bins: int = _BINS) -> np.ndarray:
    """Table of a reliability diagram, float64 [b, 3]: mean probability, share of right answers, share of all answers.

    Args:
        probability: [n] in [0, 1].
        right: [n], whether each answer was right.
        bins: of equal width; those without an answer are left out.
    """
    probability = np.asarray(probability, np.float64)
    right = np.asarray(right, np.float64)
    numbers = _bins(probability, bins)
    parts = [np.flatnonzero(numbers == number) for number in np.unique(numbers)]
    rows = [[probability[part].mean(), right[part].mean(), len(part) / len(right)] for part in parts]
    return np.array(rows).reshape(-1, 3)


def _bins(probability: np.ndarray, bins: int) -> np.ndarray:
    return np.minimum((np.asarray(probability, np.float64) * bins).astype(np.int64), bins - 1)
