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
_BATCH_NUMBERS = 1 << 22


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """How much better one model answers queries than another, on the same queries.

    Attributes:
        difference: of the mean scores, -1 to 1; where answers are right or wrong, of the shares of right ones.
        interval: 95 % confidence interval of it, by bootstrap over the queries.
        gained: queries that the first model answers better.
        lost: queries that the second model answers better.
        p_value: how likely so large a difference is where both models are equally good.
    """

    difference: float
    interval: tuple[float, float]
    gained: int
    lost: int
    p_value: float


def paired_difference(first: np.ndarray, second: np.ndarray, seed: int = 0) -> PairedDifference:
    """Compares two models by how each answers the same queries.

    Where answers are right or wrong, the p-value is that of the exact McNemar test (McNemar, Psychometrika 1947;
    binomial, two-sided): how likely such unlike numbers of gained and lost queries are. Where they have a score, as
    average precision, it is that of the paired randomization test of the mean (Fisher, 1935; Smucker, Allan and
    Carterette, CIKM 2007). The interval is the percentile bootstrap (Efron, 1979) of paired queries, 10,000 samples.
    All take the queries as independent: photos taken one after the other are less than that, and the true interval is
    wider.

    Args:
        first: `[Q]` of the first model: bool, whether it answers each query rightly, or float, its score, 0 to 1.
        second: the same of the second model.
        seed: of the bootstrap and the randomization test.

    Raises:
        ValueError: the arrays are empty or of different shapes or kinds.
    """
    first = np.asarray(first)
    second = np.asarray(second)
    if first.ndim != 1 or first.shape != second.shape or first.dtype != second.dtype or not len(first):
        raise ValueError(
            "`first` and `second` must be [Q] of one dtype, one entry for each of the same queries, at least one. "
            f"Received: first.shape={first.shape}, second.shape={second.shape}, {first.dtype} and {second.dtype}"
        )
    differences = first.astype(np.float64) - second
    gained = int((differences > 0).sum())
    lost = int((differences < 0).sum())
    if first.dtype == bool:
        interval = _interval_of_answers(gained, lost, len(first), seed)
        p_value = _mcnemar(gained, lost)
    else:
        interval = _interval_of_scores(differences, seed)
        p_value = _randomization(differences, seed)
    return PairedDifference(float(differences.mean()), interval, gained, lost, p_value)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The best of several models, against each of the others.

    Attributes:
        measure: what the models are compared by, "recall@1" or "mAP".
        values: that by model.
        best: the model with the highest; of equal ones the first.
        against: how much better the best one answers queries than each other model.
    """

    measure: str
    values: Mapping[str, float]
    best: str
    against: Mapping[str, PairedDifference]

    def is_beyond_chance(self, name: str) -> bool:
        """Whether the best model is better than another one by more than chance.

        Of three models any pair might have turned out as the best and another: each comparison must meet an equal part
        of `SIGNIFICANCE` (Bonferroni over the pairs).
        """
        pairs = len(self.values) * len(self.against) / 2
        return self.against[name].p_value < SIGNIFICANCE / pairs

    def is_surpassed(self, name: str) -> bool:
        """Whether the best model is another one, and better on these queries."""
        return name != self.best and self.against[name].difference > 0

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        beyond = {name: {"beyond_chance": self.is_beyond_chance(name)} for name in self.against}
        return {
            "measure": self.measure,
            "values": dict(self.values),
            "best": self.best,
            "against": {name: dataclasses.asdict(one) | beyond[name] for name, one in self.against.items()},
        }


def judge(answers: Mapping[str, np.ndarray], measure: str = "recall@1") -> Verdict:
    """Finds the best of several models.

    Args:
        answers: by model, `[Q]`: bool, whether each query has a positive among its first N predictions (see
            `keras_sare.evaluation.recall.first_ranks`), or float, each query's score, such as its average precision.
        measure: what their mean is called.

    Raises:
        ValueError: there is no model, or the arrays are empty or of different shapes or kinds.
    """
    if not answers:
        raise ValueError("`answers` must hold at least one model. Received: none")
    values = {name: float(np.mean(one)) for name, one in answers.items()}
    best = max(values, key=lambda name: values[name])
    against = {name: paired_difference(answers[best], one) for name, one in answers.items() if name != best}
    return Verdict(measure, values, best, against)


def format_verdict(verdict: Verdict, saved: str | None = None, reason: str = "") -> str:
    """Puts a verdict into words, Markdown.

    Args:
        verdict: of `judge`.
        saved: the model that the run saved; None to say nothing of it.
        reason: why that one, for example "recall@5 on val: 0.80, whitened 0.75".

    Returns:
        The text, without a trailing line break.
    """
    equal = [name for name, one in verdict.against.items() if not one.difference]
    share = f"{verdict.measure} {verdict.values[verdict.best]:.3f}"
    names = " and ".join(map(_bold, [verdict.best, *equal]))
    lines = [f"Verdict: best is {names}, {share}.", ""]
    lines += [f"* {_line(verdict, name)}" for name in verdict.against]
    if verdict.against:
        lines += ["", _explanation(verdict.measure)]
    if saved is not None:
        lines += ["", _saved(verdict, saved, reason)]
    return "\n".join(lines)


def _explanation(measure: str) -> str:
    test = "the paired randomization test" if measure == "mAP" else "the exact McNemar test"
    return (
        f"Difference of {measure}, its 95 % confidence interval (paired bootstrap over the queries) and {test}; beyond "
        f"chance: p below {SIGNIFICANCE:g}, divided by the number of pairs of models. Both take the queries as "
        "independent, which photos taken one after the other are not: trust a narrow decision less."
    )


def _interval_of_answers(gained: int, lost: int, count: int, seed: int) -> tuple[float, float]:
    # A bootstrap sample of the queries, as far as the difference goes, is how often it holds each of three kinds.
    shares = np.array([gained, lost, count - gained - lost]) / count
    samples = np.random.default_rng(seed).multinomial(count, shares, _RESAMPLES)
    low, high = np.quantile((samples[:, 0] - samples[:, 1]) / count, _QUANTILES).tolist()
    return low, high


def _interval_of_scores(differences: np.ndarray, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    count = len(differences)
    means = [differences[rng.integers(0, count, count)].mean() for _ in range(_RESAMPLES)]
    low, high = np.quantile(means, _QUANTILES).tolist()
    return low, high


def _randomization(differences: np.ndarray, seed: int) -> float:
    """How often a mean is as far from 0 where each query's difference has a random sign; where nothing differs, 1."""
    changed = differences[differences != 0]
    if len(changed) < 2:  # One difference is as far from 0 with either sign.
        return 1.0
    from scipy.stats import permutation_test  # Here, because it takes a second that few programs need.

    test = permutation_test(
        (changed,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=_RESAMPLES,
        batch=max(1, _BATCH_NUMBERS // len(changed)),
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


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
        f"{100 * one.difference:+.1f} points over {_bold(name)} ({verdict.values[name]:.3f}), 95 % interval "
        f"{low:+.1f} to {high:+.1f}; {one.gained} queries better, {one.lost} worse; p = {one.p_value:.2g}: {beyond}"
    )


def _saved(verdict: Verdict, saved: str, reason: str) -> str:
    text = f"Saved as model.keras: {_bold(saved)}" + (f" ({reason})." if reason else ".")
    if not verdict.is_surpassed(saved):
        return text
    beyond = "beyond chance" if verdict.is_beyond_chance(saved) else "which may be chance"
    return (
        f"{text} On these queries {_bold(verdict.best)} is better by {100 * verdict.against[saved].difference:.1f} "
        f"points, {beyond}."
    )


def _bold(name: str) -> str:
    return f"**{name}**"
