"""Which queries a report page shows with photos."""

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
    """Best gains of the last model over the first, and the last one's worst failures.

    A gain is a query that the last model finds and the first does not, those first that it finds most surely. A failure
    is a miss although something is right, the farthest first; without positions the most sure one first.

    Args:
        answers: of all models.
        models: their names, the first is the baseline.
        most: queries of each kind.
    """
    by_model: dict[str, dict[str, QueryAnswer]] = {model: {} for model in models}
    for one in answers:
        by_model[one.model][one.query] = one
    last = by_model[models[-1]].values()
    missed_before = {query for query, one in by_model[models[0]].items() if not one.hit}
    gains = [one for one in last if one.hit and one.query in missed_before] if len(models) > 1 else []
    failures = [one for one in last if not one.hit and one.positive]
    gains.sort(key=lambda one: -(one.score or 0.0))
    failures.sort(key=lambda one: (-(one.distance or 0.0), -(one.score or 0.0)))
    title = f"found by {models[-1]}, missed by {models[0]}"
    return [Case(title, one) for one in gains[:most]] + [
        Case(f"missed by {models[-1]}", one) for one in failures[:most]
    ]


def columns_of(answer: QueryAnswer) -> Mapping[str, str]:
    """The photos of a case by what they are: query, positive, and the first five matches."""
    top = {str(rank): path for rank, path in enumerate(answer.top[:5], start=1)}
    return {"query": answer.query, "positive": answer.positive, **top}
