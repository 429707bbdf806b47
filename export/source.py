"""What is exported: a model, and all that is known of it."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sare.datasets import ShorterSide
from keras_sare.models import antialiases, load_weights_from, truncated, warn_if_uninitialised
from keras_sare.models.model_file import check_descriptors, open_model_file, weights_digest
from keras_sare.training import RunFolder
from keras_sare.training.checkpoints.run_folder import orientation_of

logger = logging.getLogger("keras_sare.export")

Size = tuple[int, int] | int
"""(height, width) of images; or one number, the limit of their longer side, with which each keeps its aspect ratio and
nothing is enlarged, or a `keras_sare.datasets.ShorterSide`, with which each keeps its aspect ratio too."""

_TRIED_SIDE = 224
_SHORTER = "shorter:"


@dataclass(frozen=True, eq=False)
class Source:
    """A model that is exported.

    Attributes:
        model: RGB images 0..255, float32 [batch, height, width, 3], to descriptors [batch, dim] of norm 1;
            preprocessing and whitening are inside.
        size: of the images that it was evaluated with, or is to be used with.
        name: of the model, for example "vgg16_netvlad".
        origin: where it came from, as the user named it.
        settings: of the training run (its `run.json`), with its `changes` where it was resumed with other ones; empty
            for other origins.
        evaluation: what the run measured of this very model at this size: its `recall.json`, or each `retrieval.json`
            by the name of the test set; empty where there is none.
        orientation: "upright" or "stored": how its images are read, see `keras_sare.datasets.decode_image`.
    """

    model: keras.Model
    size: Size
    name: str
    origin: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    orientation: str = "upright"

    @property
    def dim(self) -> int:
        """Entries of a descriptor."""
        return int(self.model.output.shape[-1])

    @property
    def antialias(self) -> bool:
        """Whether images that shrink are antialiased: it belongs to the model's preprocessing."""
        return antialiases(self.model)

    @cached_property
    def weights_digest(self) -> str:
        """See `keras_sare.models.model_file.weights_digest`."""
        return weights_digest(self.model)


def open_source(
    run: str | None = None,
    model: str | None = None,
    weights: str | None = None,
    preset: str | None = None,
    size: Size | None = None,
    dim: int | None = None,
    orientation: str | None = None,
) -> Source:
    """Opens the model that is to be exported. Exactly one of `run`, `model` and `weights` says which.

    Args:
        run: folder of a finished run of `trainers.pitts` or `trainers.retrieval_sfm`.
        model: a `.keras` file, see `keras_sare.models.model_file.open_model_file`.
        weights: a file of another project, see `keras_sare.models.load_weights_from`.
        preset: for `weights` that do not name their pooling, for example "vgg16_mac".
        size: of the images. A run has its own: with another one, what the run measured is left out.
        dim: keeps so many dimensions, see `keras_sare.models.truncated`; what the run measured is left out then.
        orientation: "upright" or "stored": how images are read. By default as the run read them (with the other one,
            what it measured is left out), and upright where there is no run.

    Raises:
        FileNotFoundError: there is no such run or file, or the run has not finished.
        ValueError: an argument is missing, does not go with the others, or the model does not turn images of this size
            into descriptors of norm 1.
    """
    given = {name: value for name, value in (("run", run), ("model", model), ("weights", weights)) if value is not None}
    if len(given) != 1:
        raise ValueError(f"One of `run`, `model` and `weights` must say what is exported. Received: {given or None}")
    if preset is not None and weights is None:
        raise ValueError(f"`preset` must only be given with `weights`. Received: preset={preset!r}, {given}")
    if run is not None:
        source = _of_run(RunFolder(run), size, orientation)
    elif size is None:
        raise ValueError(
            "`size` must say what images the model is for, which its file does not: height,width, or one number that "
            "limits the longer side, for example --image_size=480,640 or --image_size=1024. "
            f"Received: size=None, {given}"
        )
    else:
        loaded = load_weights_from(str(weights), preset=preset) if model is None else open_model_file(Path(model))
        source = Source(loaded, size, loaded.name, str(model or weights), orientation=orientation or "upright")
    check_descriptors(source.model, sample_image(source.size), f"{source.origin!r}, size={source.size}")
    warn_if_uninitialised(source.model, "exported")
    return source if dim is None else _shortened(source, dim)


def read_size(parts: Sequence[str]) -> Size:
    """Reads a size from text, one number, two, or shorter:NUMBER, as flags and `run.json` have it.

    Raises:
        ValueError: these are not one or two whole numbers above 0.
    """
    if len(parts) == 1 and parts[0].startswith(_SHORTER):
        shorter = read_size([parts[0].removeprefix(_SHORTER)])
        return ShorterSide(shorter) if isinstance(shorter, int) else shorter
    if len(parts) not in (1, 2) or not all(part.strip().isdecimal() and int(part) for part in parts):
        raise ValueError(
            "`image_size` must be height,width in pixels, or one number that limits the longer side, or shorter:NUMBER "
            "for the shorter side, for example 480,640 or 1024 or shorter:480. "
            f"Received: image_size={','.join(parts)!r}"
        )
    numbers = [int(part) for part in parts]
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def size_of(settings: Mapping[str, Any]) -> Size:
    """The size of images that a run's model was whitened for.

    Args:
        settings: of a run of `trainers.pitts` or of `trainers.retrieval_sfm`.
    """
    return read_size(settings["image_size"]) if "image_size" in settings else int(settings["whitening_side"])


def sample_image(size: Size) -> np.ndarray:
    """A made-up image to try a model on, float32 [1, height, width, 3]; small where `size` limits the longer side."""
    height, width = (min(size, _TRIED_SIDE),) * 2 if isinstance(size, int) else size
    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3)).astype("float32")


def _of_run(folder: RunFolder, size: Size | None, orientation: str | None) -> Source:
    settings = folder.settings
    own = size_of(settings), orientation_of(settings)
    chosen = size or own[0], orientation or own[1]
    if chosen == own:
        evaluation = _evaluation(folder.path, own[0])
    else:
        logger.info("What %s measured was measured of images %s, not %s: it is left out", folder.path, own, chosen)
        evaluation = {}
    model = folder.load_model()
    if changes := folder.changes:
        settings = {**settings, "changes": changes}
    return Source(model, chosen[0], model.name, str(folder.path), settings, evaluation, chosen[1])


def _evaluation(folder: Path, size: Size) -> dict[str, Any]:
    """What a run measured of its finished model: the tables of retrieval only where they are of images of this size."""
    if (folder / "recall.json").is_file():
        return json.loads((folder / "recall.json").read_text())
    tables = {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob("*/retrieval.json"))}
    return {name: table for name, table in tables.items() if table["settings"].get("longer_side") == size}


def _shortened(source: Source, dim: int) -> Source:
    if source.evaluation and dim != source.dim:
        logger.info("What the run measured holds for %d dimensions, not for %d: it is left out", source.dim, dim)
    evaluation = source.evaluation if dim == source.dim else {}
    return replace(source, model=truncated(source.model, dim), evaluation=evaluation)
