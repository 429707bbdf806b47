"""Which queries a report page shows with photos."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keras_sare.evaluation.html.contents import QueryAnswer

MOST = 12
"""Queries of each kind."""


@dataclass(frozen=True)
class Case:
    """A query that is shown, and why."""

    title: str
    answer: QueryAnswer


def chosen_cases(answers: Sequence[QueryAnswer], models: Sequence[str], most: int = MOST) -> list[Case]:
    """Best gains over the first model, of that of the others that finds most, and its worst failures.

    A gain is a query that it finds and the first model does not, those first that it finds most surely. A failure is a
    miss although something is right, the farthest first; without positions the most sure one first.

    Args:
        answers: of all models.
        models: their names, the first is the baseline.
        most: queries of each kind.
    """
    by_model: dict[str, dict[str, QueryAnswer]] = {model: {} for model in models}
    for one in answers:
        by_model[one.model][one.query] = one
    shown = most_found(answers, models)
    missed_before = {query for query, one in by_model[models[0]].items() if not one.hit}
    gains = [one for query, one in by_model[shown].items() if one.hit and query in missed_before]
    failures = [one for one in by_model[shown].values() if not one.hit and one.positive]
    gains.sort(key=lambda one: -(one.score or 0.0))
    failures.sort(key=lambda one: (-(one.distance or 0.0), -(one.score or 0.0)))
    title = f"found by {shown}, missed by {models[0]}"
    return [Case(title, one) for one in gains[:most]] + [Case(f"missed by {shown}", one) for one in failures[:most]]


def most_found(answers: Sequence[QueryAnswer], models: Sequence[str]) -> str:
    """The model that finds most queries, of all but the first, which is the baseline; of equal ones the last."""
    found = Counter(one.model for one in answers if one.hit)
    return max(reversed(models[1:] or models), key=lambda model: found[model])


def columns_of(answer: QueryAnswer) -> Mapping[str, str]:
    """The photos of a case by what they are: query, positive, and the first five matches."""
    top = {str(rank): path for rank, path in enumerate(answer.top[:5], start=1)}
    return {"query": answer.query, "positive": answer.positive, **top}
