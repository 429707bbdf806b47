"""Structure from motion of a photo collection, in stages that a killed run need not repeat."""

import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keras_sare.datasets.images.image_folder import ImageFolder
from keras_sare.datasets.images.pipeline import find_corrupt
from keras_sare.reconstruction.background import run_pycolmap
from keras_sare.reconstruction.database import ColmapDatabase
from keras_sare.reconstruction.reconstruction_settings import ReconstructionSettings
from keras_sare.reconstruction.upright_copies import stored_turned, upright_copies
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.files import atomic_path, lock, remove_partials

logger = logging.getLogger(__name__)

_SUMMARY = "summary.json"


@dataclass(frozen=True)
class Reconstruction:
    """What was made of a photo collection.

    Attributes:
        images: names of the photos that could be read, relative to their folder, ascending.
        corrupt: reason for each photo that could not.
        unregistered: names of the photos that no model holds.
        models: for each model `model` (its number and folder's name), `images`, `points`, `mean_track_length` (photos
            that observe a point) and `reprojection_error` (mean, pixels).
        folder: of the models.
        database: COLMAP's, with features and verified matches.
    """

    images: Sequence[str]
    corrupt: Mapping[str, str]
    unregistered: Sequence[str]
    models: Sequence[Mapping[str, Any]]
    folder: Path
    database: Path


@plain_arguments
def reconstruct(
    images: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    settings: ReconstructionSettings | None = None,
    max_corrupt_share: float = 0.01,
) -> Reconstruction:
    """Reconstructs 3D models of a photo collection with COLMAP: features, matches, incremental mapping.

    Called again with the same folder it goes on where it was stopped: features and matches of a photo and a pair are
    computed once. With photos added it computes theirs and maps all photos again, and so it does where only settings of
    the mapping are others. Where settings choose other pairs to be matched, the pairs are chosen anew: those matched
    before are only verified again. With nothing new it returns what is there.

    Args:
        images: folder of JPEG and PNG files, which may lie in folders of it. Hidden files and what lies below `folder`
            are left aside.
        folder: where `database.db`, `state.json` and the models `models/0`, `models/1`, ... are kept. It is this
            process's own until that ends.
        settings: None: the defaults.
        max_corrupt_share: share of the photos, in [0, 1], that may be unreadable.

    Raises:
        ImportError: pycolmap is not installed.
        RuntimeError: another process runs in `folder`.
        ValueError: there are no photos, too many cannot be read, one has changed since its features were computed, the
            folder's features were computed with other settings, `folder` is `images`, or no model was found.
    """
    settings = settings or ReconstructionSettings()
    folder = Path(folder)
    names = _find_images(Path(images), folder)
    lock(folder / "run.lock")
    remove_partials(folder)
    database = ColmapDatabase(folder / "database.db", images)
    state = _State(folder / "state.json", Path(images), settings, names, database.described())
    corrupt = _describe(database, Path(images), names, settings, max_corrupt_share)
    names = [name for name in names if name not in corrupt]
    _match(database, state, names, settings)
    summary = _map_or_reuse(database.path, Path(images), folder / "models", names, settings)
    registered = set(summary["registered"])
    unregistered = [name for name in names if name not in registered]
    return Reconstruction(names, corrupt, unregistered, summary["models"], folder / "models", database.path)


class _State:
    """What a folder's features and matches were computed from."""

    def __init__(
        self, path: Path, images: Path, settings: ReconstructionSettings, names: Sequence[str], described: Set[str]
    ) -> None:
        self._path = path
        self.values: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        fixed = {key: asdict(settings)[key] for key in ("max_image_size", "max_features", "seed", "orientation")}
        sizes = {name: (images / name).stat().st_size for name in names}
        self._check(fixed, sizes, described)
        # Before there are features, so that a file changed after a kill amid them is noticed.
        self.write(settings=fixed, sizes=self.values.get("sizes", {}) | sizes)

    def write(self, **changes: Any) -> None:
        self.values |= changes
        with atomic_path(self._path) as temporary:
            temporary.write_text(json.dumps(self.values), "utf-8")

    def _check(self, fixed: Mapping[str, Any], sizes: Mapping[str, int], described: Set[str]) -> None:
        folder = self._path.parent
        # An earlier version noted no orientation, and took pixels as they are stored.
        if (before := {"orientation": "stored", **self.values.get("settings", fixed)}) != fixed:
            changed = {key: before[key] for key in fixed if before[key] != fixed[key]}
            raise ValueError(
                f"`folder` holds features computed with other settings, {changed}: give those, or a new folder. "
                f"Received: folder={folder}, settings={ {key: fixed[key] for key in changed} }"
            )
        known = self.values.get("sizes", {})
        # A file without features may be another now: a broken one was replaced.
        if changed_files := [
            name for name in sizes if name in described and known.get(name, sizes[name]) != sizes[name]
        ]:
            raise ValueError(
                f"`images` must be the files that the features in `folder` were computed of; {len(changed_files)} have "
                f"another size now: give a new folder. Received: folder={folder}, first file {changed_files[0]}"
            )
        if known and (new := len(sizes.keys() - known.keys())):
            logger.info("%d photos are new: their features and matches are added, all are mapped again", new)
        if gone := len(known.keys() - sizes.keys()):
            logger.info("%d photos are there no more: they are left out of the mapping", gone)


def _find_images(images: Path, folder: Path) -> list[str]:
    names = ImageFolder(images).files
    if not folder.resolve().is_relative_to(images.resolve()):
        return names
    below = folder.resolve().relative_to(images.resolve())
    if not below.parts:
        raise ValueError(f"`folder` must be another folder than `images`. Received: folder={folder}, images={images}")
    if not (names := [name for name in names if not name.startswith(f"{below.as_posix()}/")]):
        raise ValueError(f"`images` must hold photos outside `folder`. Received: images={images}, folder={folder}")
    return names


def _describe(
    database: ColmapDatabase, images: Path, names: Sequence[str], settings: ReconstructionSettings, max_share: float
) -> dict[str, str]:
    """Computes the features that are missing, and returns why some cannot be."""
    known = database.described()
    missing = [name for name in names if name not in known]
    reasons = find_corrupt([str(images / name) for name in missing]) if missing else {}
    corrupt = {missing[index]: reason for index, reason in reasons.items()}
    _check_share(corrupt, len(names), max_share)
    if readable := [name for name in missing if name not in corrupt]:
        _extract(database, images, readable, settings)
        known = database.described()
        corrupt |= {name: "COLMAP cannot read it" for name in readable if name not in known}
        _check_share(corrupt, len(names), max_share)
    for name, reason in corrupt.items():
        logger.warning("%s: %s", images / name, reason)
    return corrupt


def _extract(database: ColmapDatabase, images: Path, names: Sequence[str], settings: ReconstructionSettings) -> None:
    limits = settings.max_image_size, settings.max_features
    turned = stored_turned(images, names) if settings.orientation == "upright" else []
    others = [name for name in names if name not in {*turned}]
    if others:
        database.extract(others, *limits)
    if turned:
        with upright_copies(images, turned, database.path.parent) as copies:
            database.extract(turned, *limits, copies)


def _check_share(corrupt: Mapping[str, str], count: int, max_share: float) -> None:
    if len(corrupt) > (allowed := min(math.floor(max_share * count), count - 1)):
        first, reason = next(iter(corrupt.items()))
        raise ValueError(
            f"{len(corrupt)} of the {count} photos in `images` cannot be read, at most {allowed} may be left out. "
            f"Check the folder, or raise `max_corrupt_share`. Received: max_corrupt_share={max_share}, "
            f"first file {first}: {reason}"
        )


def _match(database: ColmapDatabase, state: _State, names: Sequence[str], settings: ReconstructionSettings) -> None:
    """Matches what is not matched yet."""
    neighbours = None if len(names) <= settings.exhaustive_images else settings.neighbours
    if "neighbours" not in state.values or state.values["neighbours"] != neighbours:
        # In this order, so that after a kill in between photos are matched in any case.
        state.write(matched=None)
        database.forget_verified_pairs()
        state.write(neighbours=neighbours)
    if state.values.get("matched") == (digest := _digest(names)):
        return
    if neighbours is None:
        database.match_exhaustively(settings.seed)
    else:
        logger.info("%d photos: each is matched with the %d most similar ones", len(names), neighbours)
        database.match_similar(neighbours, settings.seed)
    state.write(matched=digest)


def _map_or_reuse(
    database: Path, images: Path, models: Path, names: Sequence[str], settings: ReconstructionSettings
) -> dict[str, Any]:
    """The summary of the models, which are mapped where they were not made of just these photos and settings."""
    made_from = _digest([json.dumps(asdict(settings)), *names])
    if (models / _SUMMARY).is_file():
        summary: dict[str, Any] = json.loads((models / _SUMMARY).read_text("utf-8"))
        if summary["made_from"] == made_from:
            logger.info("Models of these photos are there: %s", models)
            return summary
    with atomic_path(models) as temporary:
        temporary.mkdir()
        summary = {"made_from": made_from, **map_models(database, images, temporary, names, settings)}
        (temporary / _SUMMARY).write_text(json.dumps(summary), "utf-8")
        # A folder is not replaced by a rename. Killed between the two, the next run maps again.
        shutil.rmtree(models, ignore_errors=True)
    return summary


def map_models(
    database: Path, images: Path, models: Path, names: Sequence[str], settings: ReconstructionSettings
) -> dict[str, Any]:
    """Makes 3D models of what was matched, into a folder; returns what is told of them."""
    registered = []

    def call(pycolmap: Any, token: Any) -> Any:
        pycolmap.set_random_seed(settings.seed)
        return pycolmap.incremental_mapping(
            database,
            images,
            models,
            _mapping_options(pycolmap, names, settings),
            initial_image_pair_callback=lambda: registered.extend((0, 0)),
            next_image_callback=lambda: registered.append(0),
            cancellation_token=token,
        )

    found = run_pycolmap(call, lambda: len(registered), "Mapping", "image")
    if not found:
        raise ValueError(
            f"`images` must be photos of which at least {settings.min_model_size} show the same from different sides, "
            f"with much in common: no model was found. Received: {len(names)} photos in {images}"
        )
    holders = {model.image(i).name for model in found.values() for i in model.reg_image_ids()}
    return {"models": [_statistics(*item) for item in sorted(found.items())], "registered": sorted(holders)}


def _mapping_options(pycolmap: Any, names: Sequence[str], settings: ReconstructionSettings) -> Any:
    options = pycolmap.IncrementalPipelineOptions(min_model_size=settings.min_model_size, image_names=names)
    # COLMAP's own limits, 50 models and 200 trials, are for photos of one place.
    options.max_num_models = max(1, len(names) // settings.min_model_size)
    options.init_num_trials = max(options.init_num_trials, len(names))
    options.num_threads = settings.mapping_threads
    for part in (options, options.mapper, options.triangulation):
        part.random_seed = settings.seed
    return options


def _statistics(number: int, model: Any) -> dict[str, Any]:
    return {
        "model": number,
        "images": model.num_reg_images(),
        "points": model.num_points3D(),
        "mean_track_length": model.compute_mean_track_length(),
        "reprojection_error": model.compute_mean_reprojection_error(),
    }


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()
