"""The line of a retrieval model in one table: off the shelf, trained, whitened, re-ranked and expanded."""

import dataclasses
import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sare.datasets.landmark_dataset import LandmarkDataset
from keras_sare.evaluation.activation_maps import ActivationMaps, write_activation_maps
from keras_sare.evaluation.kept_arrays import KeptArrays, model_digest
from keras_sare.evaluation.landmark_descriptors import CROPS, describe_images, describe_landmarks
from keras_sare.evaluation.landmarks import PAPER_DIMENSIONS, dimension_sweep, evaluate_protocols, evaluate_rankings
from keras_sare.evaluation.matching_pairs import MatchingPairs
from keras_sare.evaluation.query_objects import query_objects
from keras_sare.evaluation.reranking_picture import draw_reranking
from keras_sare.evaluation.retrieval_files import write_retrieval
from keras_sare.evaluation.retrieval_report import RetrievalReport
from keras_sare.models.crop_activations import split_at_pooling
from keras_sare.models.multi_scale import SCALES, scale_power
from keras_sare.retrieval import nearest
from keras_sare.retrieval.box_descriptor import BoxDescriptor
from keras_sare.retrieval.diffusion import DiffusionSettings, diffuse
from keras_sare.retrieval.integral_volumes import quantise_activations
from keras_sare.retrieval.query_expansion import alpha_expand
from keras_sare.retrieval.reranking import Reranker
from keras_sare.utils.arrays import array_within
from keras_sare.whitening import FittedWhitening, fit_pca_whitening, largest_dimension

logger = logging.getLogger(__name__)

# Of feature maps for re-ranking: on VGG16's, boxes come out nearer to their true maxima than with the paper's 8.
_LEVELS = 16
_BLOCK_ROWS = 65536


@dataclasses.dataclass(frozen=True)
class ComparisonSettings:
    """How models are compared; the defaults are the papers'.

    Attributes:
        longer_side: most pixels of an image's longer side.
        scales: key of `keras_sare.models.multi_scale.SCALES`.
        crop: what a query's box does, see `describe_landmarks`.
        dimensions: of whitening, at most; fewer where there are not enough images to learn from.
        rerank: images of a ranking that are looked at again; 0 for no re-ranking. Their boxes are described by R-MAC,
            whitened as the model's descriptors are, whatever the model pools by. Each different image takes about
            1.5 MB of disk, at a longer side of 1024, until the table is written.
        expand: of these, images that expand the query; 0 for no expansion.
        diffusion: of the row with diffusion; None for no such row. Numbers of neighbours beyond the database are cut.
        batch_size: images of one shape that are described at a time.
        memory_limit: bytes of an array that is kept in memory, and of re-ranking.

    Raises:
        ValueError: a setting is out of range.
    """

    longer_side: int = 1024
    scales: str = "single"
    crop: str = "image"
    dimensions: int = 512
    rerank: int = 1000
    expand: int = 5
    diffusion: DiffusionSettings | None = None
    batch_size: int = 4
    memory_limit: float = 4e9

    def __post_init__(self) -> None:
        for name, known in (("scales", tuple(SCALES)), ("crop", CROPS)):
            if getattr(self, name) not in known:
                raise ValueError(f"`{name}` must be one of {known}. Received: {name}={getattr(self, name)!r}")
        for name, least in (("longer_side", 1), ("dimensions", 1), ("rerank", 0), ("expand", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}. Received: {name}={getattr(self, name)}")


@dataclasses.dataclass(frozen=True, eq=False)
class _Described:
    """A row of the table by descriptors, which other rows build on."""

    name: str
    model: keras.Model
    queries: np.ndarray
    database: np.ndarray
    whitening: FittedWhitening | None = None


class RetrievalComparison:
    """Compares models on a landmark dataset, with every whitening that there are images for, and re-ranks the last.

    Descriptors and feature maps are kept in `folder` until the table is written: the same comparison, started again
    after a kill, does not compute them again. They are memory maps, so memory does not grow with the database but for
    rankings, see `_rerank`.

    Args:
        landmarks: the test set.
        pairs: what learned whitening (Lw) is learned from; None for no row with it.
        independent: [n] files of images of other places, that PCA whitening (PCAw) is fitted on; None for no such row.
        settings: the numbers.
        folder: where the results go.

    Attributes:
        rows: reports by name of the row and protocol.
        bases: name of the row that each row but the first builds on.
        sweeps: reports of whitened rows by number of components.
        notes: where there were too few images for what was asked for.
    """

    def __init__(
        self,
        landmarks: LandmarkDataset,
        pairs: MatchingPairs | None,
        independent: np.ndarray | None,
        settings: ComparisonSettings,
        folder: Path,
    ) -> None:
        self.landmarks, self.pairs, self.independent = landmarks, pairs, independent
        self.settings, self.folder, self._kept = settings, folder, KeptArrays(folder / "descriptors")
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
        """
        if not models:
            raise ValueError("`models` must hold at least one model. Received: models={}")
        *_, final = models.values()
        if self.settings.rerank:
            split_at_pooling(final)  # Early: what comes takes hours.
        base = None
        for name, model in models.items():
            last = self._add_model(name, model, base)
            base = name
        self._expand(last)
        if self.settings.rerank:
            self._rerank(last)
        extra: dict[str, Any] = {"bases": self.bases, "notes": self.notes, "dimensions": PAPER_DIMENSIONS}
        text = write_retrieval(self.folder, self.rows, self.sweeps, **extra)
        self._kept.clear()
        return text

    def _add_model(self, name: str, model: keras.Model, base: str | None) -> _Described:
        """Rows of a model without and with whitening; returns the last of them."""
        plain = last = _Described(name, model, *self._landmarks(model))
        self._add(name, base, evaluate_protocols(plain.queries, plain.database, self.landmarks))
        for method, whitening in self._whitenings(name, model).items():
            sides = self._whitened(whitening, plain.queries), self._whitened(whitening, plain.database)
            last = _Described(f"{name} + {method}", model, *sides, whitening)
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

    def _landmarks(self, model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
        data, crop = self.landmarks, self.settings.crop
        boxes = None if data.boxes is None or crop == "none" else data.boxes
        options, origin = self._description(model)
        queries, database = self._kept.once(
            [*origin, data.database, data.queries, boxes, crop],
            lambda: describe_landmarks(model, data, crop=crop, **options),
        )
        return queries, database

    def _photos(self, model: keras.Model, paths: np.ndarray, name: str) -> np.ndarray:
        options, origin = self._description(model)
        [descriptors] = self._kept.once([*origin, paths], lambda: (describe_images(model, paths, name, **options),))
        return descriptors

    def _description(self, model: keras.Model) -> tuple[dict[str, Any], list[object]]:
        """Options of describing images, and of these what the descriptors depend on."""
        settings = self.settings
        scales, power = SCALES[settings.scales], scale_power(model)
        options = {
            "longer_side": settings.longer_side,
            "scales": scales,
            "power": power,
            "batch_size": settings.batch_size,
            "folder": self._kept.folder,
            "memory_limit": settings.memory_limit,
        }
        return options, [model_digest(model), settings.longer_side, scales, power]

    def _whitenings(self, name: str, model: keras.Model) -> dict[str, FittedWhitening]:
        """What can be fitted, the one to go on with last."""
        fitted, wanted = {}, min(self.settings.dimensions, model.output.shape[-1])
        if self.independent is not None:
            photos = self._photos(model, self.independent, f"{name}, independent photos")
            varying = np.count_nonzero(photos.max(axis=0) > photos.min(axis=0))
            fitted["PCAw"] = fit_pca_whitening(photos, min(wanted, largest_dimension(len(photos), int(varying))))
            self._note(f"{name} + PCAw", fitted["PCAw"], wanted, f"{len(photos)} independent photos")
        if self.pairs is not None:
            photos = self._photos(model, self.pairs.paths, f"{name}, pairs")
            fitted["Lw"] = self.pairs.whitening(photos, wanted)
            pairs = f"{len(self.pairs.queries)} pairs of {len(photos)} photos"
            self._note(f"{name} + Lw", fitted["Lw"], wanted, pairs)
        return fitted

    def _note(self, name: str, whitening: FittedWhitening, wanted: int, source: str) -> None:
        if (reached := len(whitening.eigenvalues)) < wanted:
            self.notes.append(f"{name} has {reached} dimensions, not {wanted}: {source} tell of no more.")

    def _whitened(self, whitening: FittedWhitening, descriptors: np.ndarray) -> np.ndarray:
        shape = len(descriptors), len(whitening.eigenvalues)
        out = array_within(self.settings.memory_limit, shape, self._kept.folder)
        for start in range(0, len(out), _BLOCK_ROWS):
            out[start : start + _BLOCK_ROWS] = whitening.apply(descriptors[start : start + _BLOCK_ROWS])
        return out

    def _expand(self, last: _Described) -> None:
        """Rows with query expansion and diffusion instead of re-ranking."""
        queries, database, size = last.queries, last.database, len(last.database)
        if found := min(self.settings.expand, size):
            expanded = alpha_expand(queries, database, found)
            self._add(f"{last.name} + alpha-QE", last.name, evaluate_protocols(expanded, database, self.landmarks))
        if chosen := self.settings.diffusion:
            chosen = dataclasses.replace(chosen, k=min(chosen.k, size), query_k=min(chosen.query_k, size))
            rankings = diffuse(queries, database, size, chosen)[1]
            self._add(f"{last.name} + diffusion", last.name, evaluate_rankings(rankings, self.landmarks))

    def _rerank(self, last: _Described) -> None:
        """Rows with re-ranking by localisation, and query expansion after it.

        Whole rankings are held, a few arrays int64 [Q, N]: 0.6 GB each for 70 queries of a million images.
        """
        settings, data = self.settings, self.landmarks
        rankings = nearest(last.queries, last.database, len(last.database))[1]
        reranker = Reranker(
            BoxDescriptor(whiten=last.whitening.apply if last.whitening else None),
            top=settings.rerank,
            expand=settings.expand,
            memory_limit=settings.memory_limit,
        )
        objects = query_objects(last.model, data, reranker.describe, settings.longer_side)
        maps = self._maps(last.model, np.unique(rankings[:, : settings.rerank]), float(objects.maxima.max()))
        found = reranker(rankings, objects, maps)
        name = f"{last.name} + AML"
        self._add(name, last.name, evaluate_rankings(found.rankings, data))
        if settings.expand:
            self._add(f"{name} + QE", name, evaluate_rankings(found.expanded, data))
        draw_reranking(self.folder / "boxes.png", data, found, maps)

    def _maps(self, model: keras.Model, images: np.ndarray, limit: float) -> "_Maps":
        """Feature maps of some database images, kept as descriptors are; what exceeds `limit` is cut off."""
        paths, size = self.landmarks.database[images], self.settings.longer_side
        folder = self._kept.place("feature maps", model_digest(model), paths, size, limit, _LEVELS)
        if not folder.is_dir():
            quantise = functools.partial(quantise_activations, limit=limit, levels=_LEVELS)
            batch = self.settings.batch_size
            write_activation_maps(model, paths, folder, longer_side=size, quantise=quantise, batch_size=batch)
        return _Maps(ActivationMaps(folder), images, len(self.landmarks.database))


class _Maps(Sequence[np.ndarray]):
    """Feature maps by number of the database image, of the images that have one."""

    def __init__(self, maps: ActivationMaps, images: np.ndarray, database: int) -> None:
        self.maps, self.database = maps, database
        self.rows = {image: row for row, image in enumerate(images.tolist())}

    def __len__(self) -> int:
        return self.database

    def __getitem__(self, image: Any) -> Any:
        return self.maps[self.rows[int(image)]]
