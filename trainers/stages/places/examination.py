"""The examination of a data set by `trainers.doctor`."""

import dataclasses
import json
import logging
from pathlib import Path

import numpy as np

from keras_sare.datasets import open_splits, set_max_pixels
from keras_sare.datasets.checks.costs import estimate_costs
from keras_sare.datasets.checks.finding import ERROR, NOTE, WARNING, Finding
from keras_sare.datasets.checks.lists import check_lists, same_photos
from keras_sare.datasets.checks.photo_records import photo_records
from keras_sare.datasets.checks.photos import check_files, check_photos
from keras_sare.datasets.places.place_dataset import PlaceDataset
from keras_sare.utils.files import atomic_path, check_writable_folder
from trainers.config import DoctorConfig

logger = logging.getLogger("keras_sare.doctor")

_MEMORY = ".doctor.npy"
_PHOTOS = {".jpg", ".jpeg", ".png", ".gif", ".webp"}
_TITLES = {ERROR: "Would break a run", WARNING: "Warnings", NOTE: "Good to know"}


def examine(config: DoctorConfig) -> tuple[str, bool]:
    """Examines a data set.

    Returns:
        What was found, as text, and whether something would break a run.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    root = Path(config.root)
    if not root.is_dir():
        raise FileNotFoundError(f"`root` must be the folder of a dataset. Received: root={config.root!r}")
    if config.output:
        check_writable_folder(config.output)
    set_max_pixels(config.max_pixels)
    findings = _findings(config, root)
    if config.output:
        report = {"findings": [dataclasses.asdict(one) for one in findings]}
        with atomic_path(Path(config.output) / "doctor.json") as path:
            path.write_text(json.dumps(report, indent=2), encoding="utf-8")
    return _text(root, findings), any(one.level == ERROR for one in findings)


def _findings(config: DoctorConfig, root: Path) -> list[Finding]:
    memory = _memory(config, root) if config.decode else None
    try:
        datasets = open_splits(root, config.prefix)
    except (FileNotFoundError, ValueError) as error:
        return [_no_list(root, error), *_photos_alone(root, memory, config.decode)]
    findings = _missing_splits(root, datasets) + check_lists(datasets, config.radius) + same_photos(datasets)
    return findings + (_decoded(datasets, memory, root) if config.decode else [])


def _decoded(datasets: dict[str, PlaceDataset], memory: Path | None, root: Path) -> list[Finding]:
    records = photo_records(np.concatenate([one.paths for one in datasets.values()]), memory)
    pixels = records["height"].astype(np.float64) * records["width"]
    return [*check_photos(datasets, records), estimate_costs(len(records), float(np.mean(pixels)), root)]


def _missing_splits(root: Path, datasets: dict[str, PlaceDataset]) -> list[Finding]:
    missing = [split for split in ("train", "val", "test") if split not in datasets]
    if not missing:
        return []
    message = f"the splits {', '.join(datasets)} are there; training needs {', '.join(missing)} too"
    return [Finding("splits", WARNING, str(root), message, "An evaluation needs only its own")]


def _no_list(root: Path, error: Exception) -> Finding:
    truths = sorted(path.name for path in root.glob("gnd_*"))
    if truths:
        message = f"landmarks with a ground truth ({', '.join(truths)}), and no list of places"
        return Finding("no_places", ERROR, str(root), message, "trainers.retrieval_table evaluates a run on them")
    if isinstance(error, ValueError):
        return Finding("list", ERROR, str(root), str(error).rstrip("."), "Correct the list")
    message = f"no list of places ({str(error).rstrip('.')})"
    return Finding("no_places", ERROR, str(root), message, "trainers.sfm trains on photos without positions")


def _photos_alone(root: Path, memory: Path | None, decode: bool) -> list[Finding]:
    paths = sorted(str(path) for path in root.rglob("*") if path.suffix.lower() in _PHOTOS)
    if not paths or not decode:
        return []
    files = np.array(paths, np.dtypes.StringDType())
    return check_files({str(root): files}, photo_records(files, memory))


def _memory(config: DoctorConfig, root: Path) -> Path | None:
    folder = Path(config.cache) if config.cache else root
    try:
        check_writable_folder(folder)
    except OSError as error:
        if config.cache:
            raise
        logger.warning("What is decoded is not remembered: %s --cache names a folder for it.", error)
        return None
    return folder / _MEMORY


def _text(root: Path, findings: list[Finding]) -> str:
    parts = [f"# {root}"]
    for level, title in _TITLES.items():
        of_level = [one for one in findings if one.level == level]
        if of_level:
            parts.append("\n".join([f"## {title}", *(f"- [{one.kind}] {one}" for one in of_level)]))
    if not any(one.level in (ERROR, WARNING) for one in findings):
        parts.append("Nothing is wrong.")
    return "\n\n".join(parts)
