"""The stage of `trainers.retrieval_sfm` after training: whitening is learned, what is saved is chosen by validation."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import keras
import numpy as np

from keras_sare.datasets import SfMDataset
from keras_sare.evaluation.model_names import kept_name
from keras_sare.evaluation.retrieval_report import RetrievalReport, format_retrieval_table
from keras_sare.evaluation.verdict import format_verdict, judge
from keras_sare.extraction.array_cache import ArrayCache, model_digest
from keras_sare.extraction.cached_descriptors import DescriptorCache
from keras_sare.extraction.extraction_settings import ExtractionSettings
from keras_sare.models import with_whitening
from keras_sare.training import MeanAveragePrecisionValidation, SfMSettings
from keras_sare.training.checkpoints.model_choice import ModelChoice
from keras_sare.utils.files import atomic_path
from keras_sare.whitening import FittedWhitening
from trainers.config import RetrievalConfig
from trainers.stages.retrieval.photos import FINE_TUNED, OFF_THE_SHELF, pairs_of
from trainers.stages.run import Run

logger = logging.getLogger("keras_sare.retrieval_sfm")


@dataclass(frozen=True)
class RetrievalWhitening:
    """Learns whitening for a kept epoch's model and saves what validation finds better. One worker runs it.

    Attributes:
        run: whose folder gets the models, and `validation.{json,md}`.
        train: photos whose pairs whitening is learned from.
        validation: that chooses.
        kept: where descriptors lie until they are not needed any more.
        how: the photos are described.
        mode: `whitening` of the configuration: "auto", "none" or "learned".
        dim: of the whitened descriptors, at most.
    """

    run: Run[RetrievalConfig, SfMSettings]
    train: SfMDataset
    validation: MeanAveragePrecisionValidation
    kept: ArrayCache
    how: ExtractionSettings
    mode: str
    dim: int

    def finish(self, off_the_shelf: keras.Model, model: keras.Model, kept_epoch: int) -> str:
        """Saves the model, with whitening or without, and beside it the one that was not chosen.

        Where the folder holds what would be made, nothing is computed.

        Args:
            off_the_shelf: the model before training.
            model: of the kept epoch.
            kept_epoch: which that is; 0 before training.

        Returns:
            Table and verdict on the validation photos, Markdown.
        """
        origin = self._origin(model, kept_epoch)
        told = self.run.folder.path / "validation.md"
        if self.run.folder.has_saved(origin) and told.is_file():
            logger.info("Saved already: %s", self.run.folder.model)
        else:
            self.kept.lock()
            self._make(off_the_shelf, model, kept_epoch, origin)
        return told.read_text().rstrip()

    def _origin(self, model: keras.Model, kept_epoch: int) -> str:
        parts = [
            model_digest(model),
            f"epoch {kept_epoch}",
            self.mode,
            f"validation {self.validation.images.fingerprint}",
        ]
        parts += [f"longer side {self.how.longer_side}, {self.how.orientation}"]
        if self.mode != "none":
            pairs = pairs_of(self.train)
            photos = self.kept.folder_of(pairs.paths, pairs.queries, pairs.positives).name
            parts += [f"at most {self.dim}-D from {photos}"]
        return "; ".join(parts)

    def _make(self, off_the_shelf: keras.Model, model: keras.Model, kept_epoch: int, origin: str) -> None:
        plain = kept_name(kept_epoch, FINE_TUNED)
        candidates = {plain: model}
        compared = {OFF_THE_SHELF: off_the_shelf, plain: model} if kept_epoch else {plain: model}
        described = {name: self._extract(one, f"validation photos, {name}") for name, one in compared.items()}
        if self.mode != "none":
            fitted = self._learn(model)
            dim = fitted.projection.shape[1]
            whitened = f"{plain}, whitened to {dim}-D"
            candidates[whitened] = with_whitening(model, fitted.projection, fitted.bias, dim, fitted.mean)
            described[whitened] = fitted.apply(described[plain])
        measured = {name: self.validation.measure_queries(each) for name, each in described.items()}
        reports = {name: self.validation.report(each) for name, each in measured.items()}
        saved, reason = self._choose({name: reports[name] for name in candidates})
        validations = {name: asdict(report) for name, report in reports.items()}
        choice = ModelChoice(saved, reason, kept_epoch, {}, validations, origin)
        self._tell({name: each[:, 0] for name, each in measured.items()}, reports, choice)
        self.run.folder.save_chosen(candidates, choice)

    def _extract(self, model: keras.Model, name: str) -> np.ndarray:
        return DescriptorCache(self.kept, self.how).photos(model, self.validation.images.paths, name)

    def _learn(self, model: keras.Model) -> FittedWhitening:
        pairs = pairs_of(self.train)
        descriptors = DescriptorCache(self.kept, self.how).photos(model, pairs.paths, "photos to whiten by")
        wanted = min(self.dim, descriptors.shape[1])
        fitted = pairs.whitening(descriptors, wanted)
        if (dim := fitted.projection.shape[1]) < wanted:
            few = len(pairs.queries), len(pairs.paths)
            logger.warning("Whitening: %d dimensions, not %d: %d pairs of %d photos tell of no more", dim, wanted, *few)
        return fitted

    def _choose(self, reports: Mapping[str, RetrievalReport]) -> tuple[str, str]:
        """Of the model without whitening and with it the one with the higher mAP, of equal ones the smaller."""
        plain, *others = reports
        if self.mode != "auto" or not others:
            return (others or [plain])[0], f"--whitening={self.mode}"
        [whitened] = others
        without, with_it = (reports[name].mean_average_precision for name in (plain, whitened))
        why = f"mAP on {reports[plain].dataset} is {with_it:.3f} with whitening and {without:.3f} without"
        return plain if without > with_it else whitened, why

    def _tell(
        self, precisions: Mapping[str, np.ndarray], reports: Mapping[str, RetrievalReport], choice: ModelChoice
    ) -> None:
        """Writes `validation.md` and `validation.json`."""
        verdict = judge(precisions, "mAP")
        table = format_retrieval_table({name: {report.protocol: report} for name, report in reports.items()})
        text = f"{table}\n\n{format_verdict(verdict, choice.saved, choice.reason)}"
        contents = {"reports": choice.validation, "verdict": verdict.to_dict() | {"saved": choice.saved}}
        with atomic_path(self.run.folder.path / "validation.json") as path:
            path.write_text(json.dumps(contents, indent=2) + "\n")
        with atomic_path(self.run.folder.path / "validation.md") as path:
            path.write_text(text + "\n")
