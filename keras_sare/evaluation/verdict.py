"""Which of several models is best on the same queries, by how much, and whether that is more than chance."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import bdtr

SIGNIFICANCE = 0.05
"""Probability of calling a difference more than chance where there is none, over all comparisons of a verdict."""

_RESAMPLES = 10_000
_QUANTILES = (0.025, 0.975)


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """How much more queries one model answers rightly than another, on the same queries.

    Attributes:
        difference: of the shares of right answers, -1 to 1.
        interval: 95 % confidence interval of it, by bootstrap over the queries.
        gained: queries that only the first model answers rightly.
        lost: queries that only the second model answers rightly.
        p_value: of the exact McNemar test.
    """

    difference: float
    interval: tuple[float, float]
    gained: int
    lost: int
    p_value: float


def paired_difference(first: np.ndarray, second: np.ndarray, seed: int = 0) -> PairedDifference:
    """Compares two models by which queries each answers rightly.

    The exact McNemar test (McNemar, Psychometrika 1947; binomial, two-sided) asks how likely such unlike numbers of
    gained and lost queries are where both models are equally good. The interval is the percentile bootstrap (Efron,
    1979) of paired queries, 10,000 samples. Both take the queries as independent: photos taken one after the other are
    less than that, and the true interval is wider.

    Args:
        first: bool `[Q]`, whether the first model answers each query rightly.
        second: the same of the second model.
        seed: of the bootstrap.

    Raises:
        ValueError: the arrays are empty or of different shapes.
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise ValueError(
            "`first` and `second` must be [Q], one entry for each of the same queries, at least one. "
            f"Received: first.shape={first.shape}, second.shape={second.shape}"
        )
    count = len(first)
    gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
    # A bootstrap sample of the queries, as far as the difference goes, is how often it holds each of three kinds.
    shares = np.array([gained, lost, count - gained - lost]) / count
    samples = np.random.default_rng(seed).multinomial(count, shares, _RESAMPLES)
    low, high = np.quantile((samples[:, 0] - samples[:, 1]) / count, _QUANTILES).tolist()
    return PairedDifference((gained - lost) / count, (low, high), gained, lost, _mcnemar(gained, lost))


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The best of several models, against each of the others.

    Attributes:
        n: that of recall@N, by which models are compared.
        recalls: recall@N by model.
        best: the model with the highest; of equal ones the first.
        against: how much more queries the best one answers rightly than each other model.
    """

    n: int
    recalls: Mapping[str, float]
    best: str
    against: Mapping[str, PairedDifference]

    def is_beyond_chance(self, name: str) -> bool:
        """Whether the best model is better than another one by more than chance.

        Of three models any pair might have turned out as the best and another: each comparison must meet an equal part
        of `SIGNIFICANCE` (Bonferroni over the pairs).
        """
        pairs = len(self.recalls) * len(self.against) / 2
        return self.against[name].p_value < SIGNIFICANCE / pairs

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        beyond = {name: {"beyond_chance": self.is_beyond_chance(name)} for name in self.against}
        return {
            "n": self.n,
            "recalls": dict(self.recalls),
            "best": self.best,
            "against": {name: dataclasses.asdict(one) | beyond[name] for name, one in self.against.items()},
        }


def judge(hits: Mapping[str, np.ndarray], n: int = 1) -> Verdict:
    """Finds the best of several models.

    Args:
        hits: by model, bool `[Q]`: whether each query has a positive among its first `n` predictions; see
            `keras_sare.evaluation.recall.first_ranks`.
        n: that of recall@N, for the report.

    Raises:
        ValueError: there is no model, or the arrays are empty or of different shapes.
    """
    if not hits:
        raise ValueError("`hits` must hold at least one model. Received: none")
    recalls = {name: float(np.mean(one)) for name, one in hits.items()}
    best = max(recalls, key=lambda name: recalls[name])
    against = {name: paired_difference(hits[best], one) for name, one in hits.items() if name != best}
    return Verdict(n, recalls, best, against)


def format_verdict(verdict: Verdict, saved: str | None = None, reason: str = "") -> str:
    """Puts a verdict into words, Markdown.

    Args:
        verdict: of `judge`.
        saved: the model that the run saved, where that is to be told.
        reason: why that one, for example "recall@5 on val: 0.80, whitened 0.75".

    Returns:
        The text, without a trailing line break.
    """
    equal = [name for name, one in verdict.against.items() if not one.difference]
    share = f"recall@{verdict.n} {verdict.recalls[verdict.best]:.3f}"
    names = " and ".join(map(_bold, [verdict.best, *equal]))
    lines = [f"Verdict: best is {names}, {share}.", ""]
    lines += [f"* {_line(verdict, name)}" for name in verdict.against]
    if verdict.against:
        lines += ["", _EXPLANATION]
    if saved is not None:
        lines += ["", _saved(verdict, saved, reason)]
    return "\n".join(lines)


_EXPLANATION = (
    "Difference of recall, its 95 % confidence interval (paired bootstrap over the queries) and the exact McNemar "
    f"test; beyond chance: p below {SIGNIFICANCE:g}, divided by the number of pairs of models. Both take the queries "
    "as independent, which photos taken one after the other are not: trust a narrow decision less."
)


def _mcnemar(gained: int, lost: int) -> float:
    """Twice the lower tail of a fair coin; where nothing differs, 1."""
    changed = gained + lost
    return min(1.0, 2 * float(bdtr(min(gained, lost), changed, 0.5))) if changed else 1.0


def _line(verdict: Verdict, name: str) -> str:
    one = verdict.against[name]
    low, high = (100 * bound for bound in one.interval)
    if not one.gained and not one.lost:
        return f"as good as {_bold(name)} on every query"
    beyond = "beyond chance" if verdict.is_beyond_chance(name) else "not beyond chance"
    return (
        f"{100 * one.difference:+.1f} points over {_bold(name)} ({verdict.recalls[name]:.3f}), 95 % interval "
        f"{low:+.1f} to {high:+.1f}; {one.gained} queries found more, {one.lost} fewer; p = {one.p_value:.2g}: {beyond}"
    )


def _saved(verdict: Verdict, saved: str, reason: str) -> str:
    text = f"Saved as model.keras: {_bold(saved)}" + (f" ({reason})." if reason else ".")
    if saved == verdict.best or not verdict.against[saved].difference:
        return text
    beyond = "beyond chance" if verdict.is_beyond_chance(saved) else "which may be chance"
    return (
        f"{text} On these queries {_bold(verdict.best)} is better by {100 * verdict.against[saved].difference:.1f} "
        f"points, {beyond}. The test split never chooses."
    )


def _bold(name: str) -> str:
    return f"**{name}**"
