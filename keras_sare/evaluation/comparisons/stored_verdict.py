"""The verdict on models whose answers are stored, also of several evaluations or runs."""

import os
from collections.abc import Sequence

import numpy as np

from keras_sare.evaluation.html.contents import QueryAnswer
from keras_sare.evaluation.verdict import Verdict, judge


def verdict_of(answers: Sequence[QueryAnswer]) -> Verdict | None:
    """Judges models by their first matches; None where there are not several with answers to the same queries."""
    hits: dict[str, list[bool]] = {}
    queries: dict[str, list[str]] = {}
    for one in answers:
        hits.setdefault(one.model, []).append(one.hit)
        queries.setdefault(one.model, []).append(os.path.basename(one.query))
    same = len({tuple(names) for names in queries.values()}) == 1
    return judge({model: np.array(each) for model, each in hits.items()}) if len(hits) > 1 and same else None
