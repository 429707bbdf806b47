"""The stage of `trainers.pitts` after training: whitening is fitted, and what is saved is chosen by validation."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import keras
import numpy as np

from keras_sare.evaluation.model_names import kept_name
from keras_sare.extraction import Extractor
from keras_sare.extraction.array_cache import model_digest
from keras_sare.models import with_whitening
from keras_sare.training import Places, PlaceSettings, RecallValidation
from keras_sare.training.checkpoints.model_choice import ModelChoice, choose
from keras_sare.whitening import fit_pca_whitening
from trainers.config import PittsConfig
from trainers.stages.checks import late_dimension
from trainers.stages.run import Run

logger = logging.getLogger("keras_sare.pitts")


@dataclass(frozen=True)
class WhiteningStage:
    """Fits whitening to a kept epoch's model and saves what validation finds better. All workers must run it.

    Attributes:
        run: whose folder gets the models.
        places: the splits "train" and "val".
        fed: the part of a model that takes what the places give.
        mode: `whitening` of the configuration: "auto", "none" or "pca".
        dim: of the whitened descriptors.
        sample: int64 [n], training database images that whitening is fitted to.
    """

    run: Run[PittsConfig, PlaceSettings]
    places: Mapping[str, Places]
    fed: Callable[[keras.Model], keras.Model]
    mode: str
    dim: int
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
            parts += [f"{self.dim}-D from {len(self.sample)} of {self.places['train'].fingerprint}"]
        if self.mode == "auto":
            parts += [f"recall@{self.run.settings.select_by} of {self.places['val'].fingerprint}"]
        return "; ".join(parts)

    def _save_plain(self, model: keras.Model, kept_epoch: int, origin: str) -> None:
        name = kept_name(kept_epoch)
        choice = ModelChoice(name, "--whitening=none", kept_epoch, {}, {}, origin)
        self.run.folder.save_chosen({name: model}, choice)

    def _whiten(self, model: keras.Model, kept_epoch: int, origin: str) -> None:
        extractor = Extractor(self.fed(model), self.run.strategy)
        descriptors = self.places["train"].extract(extractor, self.sample, "whitening")
        validated = self.places["val"].extract_all(extractor) if self.mode == "auto" else None
        plain = kept_name(kept_epoch)
        whitened = f"{plain}, whitened to {self.dim}-D"

        def write() -> None:
            with late_dimension():
                pca = fit_pca_whitening(descriptors, self.dim)
            candidates = {plain: model, whitened: with_whitening(model, pca.projection, pca.bias, self.dim, pca.mean)}
            saved = whitened
            reason = f"--whitening={self.mode}"
            reports = {}
            if validated:
                validation = RecallValidation(self.places["val"])
                reports = {
                    plain: validation.report(*validated),
                    whitened: validation.report(*map(pca.apply, validated)),
                }
                wins, reason = choose(reports[plain], reports[whitened], self.run.settings.select_by)
                saved = whitened if wins else plain
            validations = {name: asdict(report) for name, report in reports.items()}
            choice = ModelChoice(saved, reason, kept_epoch, {}, validations, origin)
            self.run.folder.save_chosen(candidates, choice)

        self.run.write_once(write)
