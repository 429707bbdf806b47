"""The photos that a run was made of, as its settings tell."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from export.fidelity.photos import spread
from keras_sare.datasets import SfMDataset, read_retrieval_sfm, split_clusters, without_models_of

logger = logging.getLogger("keras_sare.export")

_TRIED = 32
"""Photos that are looked for: whether most of them are there tells of all."""


def dataset_of(settings: Mapping[str, Any], root: str | None, prefix: str) -> tuple[str | None, str]:
    """Finds the dataset of places that was named, else that of the run.

    Args:
        settings: of the run, empty where there is none.
        root: folder of a dataset of places, where one was named.
        prefix: of its .mat files, where it holds several datasets.

    Returns:
        Folder and prefix. The folder is None where the run has none, or where it is not there any more, which is
        logged.
    """
    if root is not None or "root" not in settings:
        return root, prefix
    if not Path(settings["root"]).is_dir():
        logger.warning("The photos of the run are not in %s any more: name their folder with --root", settings["root"])
        return None, prefix
    return settings["root"], prefix or settings.get("prefix", "")


def photos_of_models(settings: Mapping[str, Any], split: str) -> np.ndarray | None:
    """Finds the photos of 3D models that a run of `trainers.retrieval_sfm` was trained or validated on.

    Args:
        settings: of the run.
        split: "train" or "val".

    Returns:
        Files, StringDType [N]; None where the run has no such photos, or most of them are not there any more, which is
        logged.
    """
    if "dataset" not in settings:
        return None
    try:
        paths = _open_models(settings, split).paths
    except (OSError, ValueError) as error:
        logger.warning("The %s photos of the run are out of reach: %s", split, error)
        return None
    tried = paths[spread(len(paths), _TRIED)].tolist()
    missing = [path for path in tried if not Path(path).is_file()]
    if 2 * len(missing) > len(tried):
        logger.warning("The %s photos of the run are not there any more, such as %s", split, missing[0])
        return None
    return paths


def _open_models(settings: Mapping[str, Any], split: str) -> SfMDataset:
    """The split that the trainer makes of these settings."""
    dataset = settings["dataset"]
    if Path(dataset).suffix == ".pkl":
        return read_retrieval_sfm(dataset, settings["images"], split)
    photos = SfMDataset.load(dataset)
    if settings["leave_out"]:
        names = [line.strip() for line in Path(settings["leave_out"]).read_text().splitlines() if line.strip()]
        photos = without_models_of(photos, np.array(names, np.dtypes.StringDType()))
    train, val = split_clusters(photos, settings["val_share"], settings["seed"])
    return train if split == "train" else val
