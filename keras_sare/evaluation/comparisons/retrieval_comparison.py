"""A retrieval model in one table: off the shelf, trained, whitened, re-ranked and expanded."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sare.datasets.landmarks.landmark_dataset import LandmarkDataset
from keras_sare.evaluation.comparisons.comparison_settings import ComparisonSettings
from keras_sare.evaluation.comparisons.database_maps import check_room, database_maps
from keras_sare.evaluation.comparisons.matching_pairs import MatchingPairs
from keras_sare.evaluation.landmarks import PAPER_DIMENSIONS, dimension_sweep, evaluate_protocols, evaluate_rankings
from keras_sare.evaluation.plots.reranking_picture import draw_reranking
from keras_sare.evaluation.retrieval_files import check_same_settings, write_retrieval
from keras_sare.evaluation.retrieval_report import RetrievalReport
from keras_sare.extraction.array_cache import ArrayCache
from keras_sare.extraction.cached_descriptors import DescriptorCache
from keras_sare.extraction.landmark_objects import query_objects
from keras_sare.models.crop_activations import split_at_pooling
from keras_sare.retrieval import nearest
from keras_sare.retrieval.expansion.diffusion import diffuse
from keras_sare.retrieval.expansion.query_expansion import alpha_expand
from keras_sare.retrieval.reranking.box_descriptor import BoxDescriptor
from keras_sare.retrieval.reranking.reranker import Reranker
from keras_sare.utils.arrays import array_within
from keras_sare.whitening import FittedWhitening, fit_pca_whitening, largest_dimension

logger = logging.getLogger(__name__)

_BLOCK_ROWS = 65536


@dataclasses.dataclass(frozen=True, eq=False)
class _Extracted:
    """A row of the table by descriptors, which other rows build on."""

    name: str
    model: keras.Model
    queries: np.ndarray
    database: np.ndarray
    whitening: FittedWhitening | None = None


class RetrievalComparison:
    """Compares models on a landmark dataset, with every whitening that there are images for, and re-ranks the last.

    Descriptors and feature maps are cached in `folder` until the table is written: the same comparison, started again
    after a kill, does not compute them again. They are memory maps, so memory does not grow with the database but for
    rankings, see `_rerank`.

    Args:
        landmarks: the test set.
        pairs: what learned whitening (Lw) is learned from; None for no row with it.
        independent: [n] files of images of other places, that PCA whitening (PCAw) is fitted on; None for no such row.
        settings: the numbers.
        folder: where the results go. Earlier results of the same settings are replaced.
        run: name of the run that the models are from, for the record.

    Attributes:
        cache: of descriptors and feature maps, until the table is written.
        rows: reports by name of the row and protocol.
        bases: name of the row that each row but the first builds on.
        sweeps: reports of whitened rows by number of components.
        notes: which whitenings have fewer dimensions than wanted, for lack of images.

    Raises:
        FileExistsError: the folder holds results of other settings.
    """

    def __init__(
        self,
        landmarks: LandmarkDataset,
        pairs: MatchingPairs | None,
        independent: np.ndarray | None,
        settings: ComparisonSettings,
        folder: Path,
        run: str | None = None,
    ) -> None:
        # Without boxes queries are whole everywhere: in extraction, in re-ranking and in the picture.
        self.landmarks = dataclasses.replace(landmarks, boxes=None) if settings.crop == "none" else landmarks
        self.pairs = pairs
        self.independent = independent
        self.settings = settings
        self.folder = folder
        self.cache = ArrayCache(folder)
        self._descriptors = DescriptorCache(self.cache, settings)
        self._record = {"dataset": landmarks.name, **settings.record(), "run": run}
        check_same_settings(folder, self._record)
        self.rows: dict[str, dict[str, RetrievalReport]] = {}
        self.bases: dict[str, str] = {}
        self.sweeps: dict[str, dict[int, dict[str, RetrievalReport]]] = {}
        self.notes: list[str] = []

    def compare(self, models: Mapping[str, keras.Model]) -> str:
        """Measures all and writes `retrieval.{json,md,png}`, `retrieval_dimensions_*.png` and `boxes.png`.

        Args:
            models: by name, each without whitening and trained from the one before, for example "off the shelf" and
                "fine-tuned".

        Returns:
            The tables, Markdown.

        Raises:
            ValueError: there is no model, or the last one has no feature map to re-rank by.
            RuntimeError: another process computes in the same folder.
            OSError: the disk has too little room for the feature maps of re-ranking.
        """
        if not models:
            raise ValueError("`models` must hold at least one model. Received: models={}")
        *_, final = models.values()
        self._check_reranking(final)  # Early: what comes takes hours.
        self.cache.lock()
        base = None
        for name, model in models.items():
            last = self._add_model(name, model, base)
            base = name
        self._expand(last)
        if self.settings.rerank:
            self._rerank(last)
        extra: dict[str, Any] = {"bases": self.bases, "notes": self.notes, "dimensions": PAPER_DIMENSIONS}
        text = write_retrieval(self.folder, self.rows, self.sweeps, settings=self._record, **extra)
        self.cache.clear()
        return text

    def _check_reranking(self, model: keras.Model) -> None:
        if self.settings.rerank:
            split_at_pooling(model)
            database = self.landmarks.database
            if len(database) <= self.settings.rerank:  # Of more images it is not known yet which are re-ranked.
                check_room(self.cache, model, database, self.settings)

    def _add_model(self, name: str, model: keras.Model, base: str | None) -> _Extracted:
        """Rows of a model without and with whitening; returns the last of them."""
        plain = last = _Extracted(name, model, *self._descriptors.landmarks(model, self.landmarks))
        self._add(name, base, evaluate_protocols(plain.queries, plain.database, self.landmarks))
        for method, whitening in self._whitenings(name, model).items():
            sides = self._whitened(whitening, plain.queries), self._whitened(whitening, plain.database)
            last = _Extracted(f"{name} + {method}", model, *sides, whitening)
            self._add(last.name, name, evaluate_protocols(*sides, self.landmarks))
            reached = [d for d in PAPER_DIMENSIONS if d <= len(whitening.eigenvalues)]
            self.sweeps[last.name] = dimension_sweep(*sides, self.landmarks, reached) if reached else {}
        return last

    def _add(self, name: str, base: str | None, reports: dict[str, RetrievalReport]) -> None:
        self.rows[name] = reports
        if base is not None:
            self.bases[name] = base
        measured = ", ".join(f"{p} {100 * report.mean_average_precision:.1f}" for p, report in reports.items())
        logger.info("%s: mAP %s", name, measured)

    def _whitenings(self, name: str, model: keras.Model) -> dict[str, FittedWhitening]:
        """The whitenings that can be fitted; the last one is that of the following rows."""
        fitted = {}
        wanted = min(self.settings.dimensions, model.output.shape[-1])
        if self.independent is not None:
            photos = self._descriptors.photos(model, self.independent, f"{name}, independent photos")
            varying = np.count_nonzero(photos.max(axis=0) > photos.min(axis=0))
            fitted["PCAw"] = fit_pca_whitening(photos, min(wanted, largest_dimension(len(photos), int(varying))))
            self._note(f"{name} + PCAw", fitted["PCAw"], wanted, f"{len(photos)} independent photos")
        if self.pairs is not None:
            photos = self._descriptors.photos(model, self.pairs.paths, f"{name}, pairs")
            fitted["Lw"] = self.pairs.whitening(photos, wanted)
            pairs = f"{len(self.pairs.queries)} pairs of {len(photos)} photos"
            self._note(f"{name} + Lw", fitted["Lw"], wanted, pairs)
        return fitted

    def _note(self, name: str, whitening: FittedWhitening, wanted: int, source: str) -> None:
        if (reached := len(whitening.eigenvalues)) < wanted:
            self.notes.append(f"{name} has {reached} dimensions, not {wanted}: {source} determine no more.")

    def _whitened(self, whitening: FittedWhitening, descriptors: np.ndarray) -> np.ndarray:
        shape = len(descriptors), len(whitening.eigenvalues)
        out = array_within(self.settings.memory_limit, shape, self.cache.folder)
        for start in range(0, len(out), _BLOCK_ROWS):
            out[start : start + _BLOCK_ROWS] = whitening.apply(descriptors[start : start + _BLOCK_ROWS])
        return out

    def _expand(self, last: _Extracted) -> None:
        """Rows with query expansion and diffusion instead of re-ranking."""
        queries = last.queries
        database = last.database
        size = len(last.database)
        if found := min(self.settings.expand, size):
            expanded = alpha_expand(queries, database, found)
            self._add(f"{last.name} + alpha-QE", last.name, evaluate_protocols(expanded, database, self.landmarks))
        if chosen := self.settings.diffusion:
            chosen = dataclasses.replace(chosen, k=min(chosen.k, size), query_k=min(chosen.query_k, size))
            rankings = diffuse(queries, database, size, chosen)[1]
            self._add(f"{last.name} + diffusion", last.name, evaluate_rankings(rankings, self.landmarks))

    def _rerank(self, last: _Extracted) -> None:
        """Rows with re-ranking by localisation, and query expansion after it.

        Whole rankings are held, a few arrays int64 [Q, N]: 0.6 GB each for 70 queries of a million images.
        """
        settings = self.settings
        data = self.landmarks
        rankings = nearest(last.queries, last.database, len(last.database))[1]
        reranker = Reranker(
            BoxDescriptor(whiten=last.whitening.apply if last.whitening else None),
            top=settings.rerank,
            expand=settings.expand,
            memory_limit=settings.memory_limit,
        )
        how = settings.longer_side, settings.crop, settings.orientation
        objects = query_objects(last.model, data, reranker.describe, *how)
        images = np.unique(rankings[:, : settings.rerank])
        limit = float(objects.maxima.max())
        maps = database_maps(self.cache, last.model, data.database, images, limit, settings)
        found = reranker(rankings, objects, maps)
        name = f"{last.name} + AML"
        self._add(name, last.name, evaluate_rankings(found.rankings, data))
        if settings.expand:
            self._add(f"{name} + QE", name, evaluate_rankings(found.expanded, data))
        draw_reranking(self.folder / "boxes.png", data, found, maps, orientation=settings.orientation)
