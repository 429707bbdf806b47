"""The examination of a data set by `trainers.doctor`."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np

from keras_sare.datasets import open_splits, set_max_pixels
from keras_sare.datasets.checks.finding import ERROR, NOTE, WARNING, Finding
from keras_sare.datasets.checks.lists import check_lists
from keras_sare.datasets.checks.photo_looks import photo_looks
from keras_sare.datasets.checks.photos import check_files, listed_files
from keras_sare.datasets.images.unreadable_files import unreadable_files
from keras_sare.datasets.places.place_dataset import PlaceDataset
from keras_sare.utils.files import atomic_path, check_writable_folder
from trainers.config import DoctorConfig
from trainers.stages.photo_memory import photo_memory
from trainers.stages.places.costs import estimate_costs

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
    for folder in filter(None, (config.output, config.cache)):
        check_writable_folder(folder)
    set_max_pixels(config.max_pixels)
    findings = _findings(config, root)
    if config.output:
        report = {"findings": [dataclasses.asdict(one) for one in findings]}
        with atomic_path(Path(config.output) / "doctor.json") as path:
            path.write_text(json.dumps(report, indent=2), encoding="utf-8")
    return _text(root, findings), any(one.level == ERROR for one in findings)


def _findings(config: DoctorConfig, root: Path) -> list[Finding]:
    memory = Path(config.cache) if config.cache else photo_memory(root)
    try:
        datasets = open_splits(root, config.prefix)
    except (FileNotFoundError, ValueError) as error:
        files = _photos(root)
        alone = _decoded({root.resolve().name: files}, memory)[0] if len(files) and config.decode else []
        return [_no_list(root, error, len(files)), *alone]
    findings = [*_missing_splits(root, datasets), *_unread_lists(root)]
    findings += check_lists(datasets, config.radius, config.positive_radius)
    if not config.decode:
        return findings
    photos, readable = _decoded(listed_files(datasets), memory)
    counts = _counts(datasets, readable)
    if all(map(all, counts.values())):
        photos.append(estimate_costs(counts, Path(config.output)))
    return findings + photos


def _decoded(listed: dict[str, np.ndarray], memory: Path | None) -> tuple[list[Finding], np.ndarray]:
    """What is found when all photos are decoded, and which can be read."""
    paths = np.concatenate(list(listed.values()))
    reasons = unreadable_files(paths, memory)
    readable = np.ones(len(paths), bool)
    readable[list(reasons)] = False
    return check_files(listed, reasons, photo_looks(paths, readable, memory)), readable


def _counts(datasets: dict[str, PlaceDataset], readable: np.ndarray) -> dict[str, tuple[int, int]]:
    """Database images and queries of each split that can be read."""
    sizes = [len(side) for dataset in datasets.values() for side in (dataset.database, dataset.queries)]
    counts = [int(part.sum()) for part in np.split(readable, np.cumsum(sizes)[:-1])]
    return dict(zip(datasets, zip(counts[::2], counts[1::2], strict=True), strict=True))


def _missing_splits(root: Path, datasets: dict[str, PlaceDataset]) -> list[Finding]:
    missing = [split for split in ("train", "val", "test") if split not in datasets]
    if not missing:
        return []
    message = f"of splits there is only {', '.join(datasets)}; training needs {', '.join(missing)} too"
    return [Finding("splits", WARNING, root.resolve().name, message, "An evaluation needs only its own")]


def _unread_lists(root: Path) -> list[Finding]:
    """MATLAB files that look like lists and are of no split."""
    files = [path.name for folder in (root, root / "datasets") for path in sorted(folder.glob("*.mat"))]
    others = [name for name in files if not name.endswith(("_train.mat", "_val.mat", "_test.mat"))]
    if not others:
        return []
    advice = "A list of places is read when its name ends in _train.mat, _val.mat or _test.mat"
    return [Finding("unread_list", NOTE, root.resolve().name, f"{', '.join(others)} is not read", advice)]


def _no_list(root: Path, error: Exception, photos: int) -> Finding:
    if isinstance(error, ValueError):
        return Finding("list", ERROR, root.resolve().name, str(error).rstrip("."), "Correct the list")
    if truths := sorted(path.name for path in root.glob("gnd_*")):
        message = f"a test set of landmarks ({', '.join(truths)}), without a list of places"
        advice = "trainers.retrieval_table evaluates a run on it"
        return Finding("no_places", NOTE, root.resolve().name, message, advice)
    if photos:
        advice = "trainers.import_photos lists photos with GPS or a track; trainers.sfm trains on photos without"
        return Finding("no_places", WARNING, root.resolve().name, f"{photos} photos without a list of places", advice)
    return Finding("no_places", ERROR, root.resolve().name, f"no photos and no list of places. {error}".rstrip("."))


def _photos(root: Path) -> np.ndarray:
    paths = sorted(str(path) for path in root.rglob("*") if path.suffix.lower() in _PHOTOS)
    return np.array(paths, np.dtypes.StringDType())


def _text(root: Path, findings: list[Finding]) -> str:
    parts = [f"# {root}"]
    for level, title in _TITLES.items():
        of_level = [one for one in findings if one.level == level]
        if of_level:
            parts.append("\n".join([f"## {title}", *(f"- [{one.kind}] {one}" for one in of_level)]))
    if not any(one.level in (ERROR, WARNING) for one in findings):
        parts.append("Nothing is wrong.")
    return parts[0] + "\n\n".join(["", *parts[1:]]).replace(f"{root}{os.sep}", "")
