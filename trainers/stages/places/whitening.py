"""The stage of `trainers.pitts` after training: whitening is fitted, and what is saved is chosen by validation."""

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import keras
import numpy as np

from keras_sare.evaluation import RecallReport
from keras_sare.evaluation.model_names import kept_name
from keras_sare.extraction import Extractor
from keras_sare.extraction.array_cache import model_digest
from keras_sare.models import with_whitening
from keras_sare.training import Places, PlaceSettings, RecallValidation
from keras_sare.training.checkpoints.model_choice import ModelChoice, choose
from keras_sare.whitening import FittedWhitening, fit_pca_whitening, shrunk_variances
from keras_sare.whitening.fitted import unit_rows
from trainers.config import PittsConfig
from trainers.stages.checks import late_dimension
from trainers.stages.run import Run

logger = logging.getLogger("keras_sare.pitts")

SHRINKAGES = (1.0, 0.5, 0.25, 0.0)
"""Candidates for how far variances are shrunk, the most trusted first."""

CHOSEN_BY_VALIDATION = ("auto", "reduce")
"""Modes in which validation images say how descriptors become smaller; with "auto" whether, too."""


@dataclass(frozen=True)
class Reduction:
    """What makes descriptors smaller.

    Attributes:
        word: "whitened" or "projected".
        fitted: the transform.
    """

    word: str
    fitted: FittedWhitening

    @property
    def dim(self) -> int:
        """Of what it gives."""
        return len(self.fitted.eigenvalues)

    def name(self, plain: str) -> str:
        """Of a model that ends in it, from the name of the model as it is."""
        return f"{plain}, {self.word} to {self.dim}-D"


@dataclass(frozen=True)
class WhiteningStage:
    """Fits whitening to a kept epoch's model and saves what validation finds better. All workers must run it.

    Attributes:
        run: whose folder gets the models.
        places: the splits "train" and "val".
        fed: the part of a model that takes what the places give.
        mode: `whitening` of the configuration: "auto", "reduce", "none" or "pca".
        dims: candidates for the dimension of the whitened descriptors, the preferred one first; one, unless `mode` is
            "auto" or "reduce".
        sample: int64 [n], ids of training images that whitening is fitted to.
    """

    run: Run[PittsConfig, PlaceSettings]
    places: Mapping[str, Places]
    fed: Callable[[keras.Model], keras.Model]
    mode: str
    dims: tuple[int, ...]
    sample: np.ndarray

    def finish(self, model: keras.Model, kept_epoch: int) -> ModelChoice:
        """Saves the model, with whitening or without, and beside it the one that was not chosen.

        Where the folder holds what would be made, nothing is computed.

        Args:
            model: of the kept epoch.
            kept_epoch: which that is; 0 before training.
        """
        origin = self._origin(model, kept_epoch)
        # One worker looks: what the others see of a shared folder may be older.
        if self.run.workers.broadcast(np.array([self.run.folder.has_saved(origin)], np.int64))[0]:
            logger.info("Saved already: %s", self.run.folder.model)
        elif self.mode == "none":
            self.run.write_once(lambda: self._save_plain(model, kept_epoch, origin))
        else:
            self._whiten(model, kept_epoch, origin)
        choice = self.run.folder.choice
        if choice is None:
            raise FileNotFoundError(f"There is no choice.json in {str(self.run.folder.path)!r}, which a worker wrote.")
        return choice

    def _origin(self, model: keras.Model, kept_epoch: int) -> str:
        parts = [model_digest(model), f"epoch {kept_epoch}", self.mode]
        if self.mode != "none":
            parts += [f"{self.dims}-D from {len(self.sample)} of {self.places['train'].fingerprint}"]
        if self.mode in CHOSEN_BY_VALIDATION:
            parts += [f"most trusted by reciprocal ranks of {self.places['val'].fingerprint}"]
        return "; ".join(parts)

    def _save_plain(self, model: keras.Model, kept_epoch: int, origin: str) -> None:
        name = kept_name(kept_epoch)
        choice = ModelChoice(name, "--whitening=none", kept_epoch, {}, {}, origin)
        self.run.folder.save_chosen({name: model}, choice)

    def _whiten(self, model: keras.Model, kept_epoch: int, origin: str) -> None:
        extractor = Extractor(self.fed(model), self.run.strategy)
        descriptors = self.places["train"].extract(extractor, self.sample, "whitening")
        validated = self.places["val"].extract_all(extractor) if self.mode in CHOSEN_BY_VALIDATION else None
        plain = kept_name(kept_epoch)

        def write() -> None:
            if validated is None:
                with late_dimension():
                    forced = Reduction("whitened", fit_pca_whitening(descriptors, max(self.dims)))
                self._save(model, forced, kept_epoch, {}, (True, f"--whitening={self.mode}"), origin)
                return
            validation = RecallValidation(self.places["val"])
            without = validation.report(*validated)
            with late_dimension():
                chosen, report = best_reduction(descriptors, self.dims, validation, *validated)
            reports = {plain: without, chosen.name(plain): report}
            wins, reason = choose(without, report, chosen.word)
            if self.mode == "reduce":
                wins = True
                reason = f"--whitening=reduce; {reason}"
            self._save(model, chosen, kept_epoch, reports, (wins, reason), origin)

        self.run.write_once(write)

    def _save(
        self,
        model: keras.Model,
        reduction: Reduction,
        kept_epoch: int,
        reports: Mapping[str, RecallReport],
        decision: tuple[bool, str],
        origin: str,
    ) -> None:
        plain = kept_name(kept_epoch)
        reduced = reduction.name(plain)
        wins, reason = decision
        fitted = reduction.fitted
        smaller = with_whitening(model, fitted.projection, fitted.bias, reduction.dim, fitted.mean)
        candidates = {plain: model, reduced: smaller}
        validations = {name: asdict(report) for name, report in reports.items()}
        choice = ModelChoice(reduced if wins else plain, reason, kept_epoch, {}, validations, origin)
        self.run.folder.save_chosen(candidates, choice)


def best_reduction(
    descriptors: np.ndarray,
    dims: Sequence[int],
    validation: RecallValidation,
    queries: np.ndarray,
    database: np.ndarray,
) -> tuple[Reduction, RecallReport]:
    """Chooses dimensions, and whitening or projection, by the reciprocal ranks of validation images.

    A projection keeps the scalar products that training has learned to rank by; centring and whitening change them. The
    candidates stand in order of trust: of more dimensions first, the projection before whitening, shrunk variances
    before whitening in full. The first one is taken whose mean is within one standard error, paired by query, of the
    best one's: the one-standard-error rule of Breiman et al., "Classification and Regression Trees", 1984, section
    3.4.3. Few queries say little, and the best of many candidates is then the luckiest one.

    Args:
        descriptors: float32 [n, D], of training images.
        dims: candidates, the largest first.
        validation: measures descriptors.
        queries: float32 [Q, D], not reduced, and so is `database`.
        database: float32 [N, D].

    Returns:
        The chosen one, and its report.

    Raises:
        DimensionError: `descriptors` differ in fewer directions than the largest of `dims`.
    """
    found: list[tuple[Reduction, RecallReport, np.ndarray]] = []
    for word, centred, shares in (("projected", False, (1.0,)), ("whitened", True, SHRINKAGES)):
        pca = fit_pca_whitening(descriptors, max(dims), centred=centred)
        # Once for all: a candidate scales directions of these and leaves some out, before the length is made 1 again.
        full = [pca.apply(rows) for rows in (queries, database)]
        for dim, share in itertools.product(dims, shares):
            cut = pca.truncated(dim)
            shrunk = shrunk_variances(cut, share)
            factors = np.sqrt(cut.eigenvalues / shrunk.eigenvalues).astype(np.float32)
            report, ranks = validation.report_and_ranks(*(unit_rows(rows[:, :dim] * factors) for rows in full))
            mean = report.mean_reciprocal_rank
            logger.info("%s to %d-D, variances shrunk by %g: mean reciprocal rank %.4f", word.title(), dim, share, mean)
            found.append((Reduction(word, shrunk), report, ranks))
    best = max((ranks for _, _, ranks in found), key=np.mean)
    trusted = sorted(found, key=lambda one: one[0].dim, reverse=True)  # Of equal dimensions in the order above.
    return next((reduction, report) for reduction, report, ranks in trusted if _is_close(ranks, best))


def _is_close(ranks: np.ndarray, best: np.ndarray) -> bool:
    """Whether the mean of reciprocal ranks is within a standard error of the best mean."""
    behind = best - ranks
    return bool(behind.mean() <= behind.std(ddof=min(1, len(behind) - 1)) / np.sqrt(len(behind)))
