"""Validation recall, by which the epochs of a run are compared."""

import numpy as np

from keras_sare.datasets import neighbours_within
from keras_sare.evaluation import RecallReport, evaluate
from keras_sare.training.describer import Describer
from keras_sare.training.places import Places
from keras_sare.utils.arrays import array_within


class Validator:
    """Measures recall@N of the present weights: the validation queries against the validation database.

    Args:
        places: validation places.
        describer: of their inputs.
        radius: metres within which a database image is right.
        distractors: further places whose database is searched too, and the describer of their inputs. They make a small
            validation set harder, so that it tells epochs apart; a query's image among them counts as found too.
    """

    def __init__(
        self, places: Places, describer: Describer, radius: float, distractors: tuple[Places, Describer] | None = None
    ) -> None:
        self.places, self.describer = places, describer
        self._searched = [(places, describer), *([distractors] if distractors else [])]
        positions = np.concatenate([one.dataset.database.positions for one, _ in self._searched])
        self._positives = neighbours_within(places.dataset.queries.positions, positions, radius)
        with_distractors = f", with {len(positions) - len(places.dataset.database)} distractors" if distractors else ""
        self._protocol = f"recall@N within {radius:g} m{with_distractors}"

    def __call__(self) -> RecallReport:
        """Recall@N of the present weights; with several workers, all must make this call."""
        places, name = self.places, self.places.dataset.name
        counts = [len(one.dataset.database) for one, _ in self._searched]
        shape = (sum(counts), *self.describer.output_shape)
        database, start = array_within(places.settings.memory_limit, shape, places.folder), 0
        for (one, describer), count in zip(self._searched, counts, strict=True):
            description = f"{one.dataset.name} database"
            one.describe(describer, np.arange(count), description, database[start : start + count])
            start += count
        queries = places.describe(self.describer, places.query_ids(), f"{name} queries")
        return evaluate(queries, database, self._positives, protocol=self._protocol, dataset=name)[0]
