"""Photos in 3D models, read from COLMAP's files."""

import logging
import os
from pathlib import Path

import numpy as np

from keras_sare.datasets.sfm.sfm_colmap import ColmapModel, read_models
from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.datasets.sfm.sfm_links import linked_models

logger = logging.getLogger(__name__)


def read_colmap(
    models: str | os.PathLike[str],
    images: str | os.PathLike[str],
    database: str | os.PathLike[str] | None = None,
    name: str | None = None,
) -> SfMDataset:
    """Reads COLMAP models, binary or text.

    Models that share photos are parts of one: of those the one with most photos is taken, as in Radenovic et al., "CNN
    image retrieval learns from BoW", on its training data, and the others are excluded, which is logged. Models
    without a common photo may still show the same building: those that share photos with an excluded one form one
    cluster, and with `database` so do those that COLMAP found matches between (`linked_models`), so that none is
    taken for a negative of the other.

    Args:
        models: a model's folder, which holds `images.bin` or `images.txt`, or a folder of such folders.
        images: the folder that the models' image names start from. It is not looked into.
        database: COLMAP's database of the models; None: matches between models are not known.
        name: of the dataset; by default that of the folder `images`, or of the one above it where it is named "images".

    Returns:
        A dataset with centres, points and scales; by model, then by name.

    Raises:
        ImportError: pycolmap is not installed.
        ValueError: there is no model with photos, or one or the database cannot be read.
    """
    found = [model for model in read_models(models) if len(model)]
    kept = _without_overlap(found)
    if not kept:
        raise ValueError(f"`models` must hold a model with registered images. Received: models={os.fspath(models)}")
    names = np.concatenate([model.names for model in kept])
    numbers = np.repeat([model.number for model in kept], [len(model) for model in kept])
    # What a model numbers from 0 on is moved behind the numbers of the models before it.
    offsets = np.cumsum([0, *(len(model.positions) for model in kept)])
    observed = np.concatenate([np.diff(model.point_starts) for model in kept])
    folder = Path(images)
    return SfMDataset(
        name or (folder.absolute().parent if folder.name == "images" else folder.absolute()).name,
        np.strings.add(os.path.join(folder, ""), names),
        numbers,
        linked_models(database, names, numbers, shared=_sharing_photos(found)),
        np.concatenate([model.centres for model in kept]),
        np.concatenate([[0], np.cumsum(observed)]),
        np.concatenate([model.points + offset for model, offset in zip(kept, offsets, strict=False)]),
        np.concatenate([model.scales for model in kept]),
    )


def _sharing_photos(models: list[ColmapModel]) -> np.ndarray:
    """int64 [L, 2] numbers of models that have a photo in common; of several, each with the first."""
    first: dict[str, int] = {}
    pairs = {(first.setdefault(name, model.number), model.number) for model in models for name in model.names.tolist()}
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def _without_overlap(models: list[ColmapModel]) -> list[ColmapModel]:
    """The models that share no image with a larger one of the result, in the given order."""
    kept: dict[int, ColmapModel] = {}
    holder: dict[str, ColmapModel] = {}
    for model in sorted(models, key=lambda model: (-len(model), model.number)):
        shared = [holder[name] for name in model.names.tolist() if name in holder]
        if shared:
            larger = max(shared, key=shared.count)
            logger.info(
                "Model %d of %d images excluded: it shares %d with model %d of %d images",
                model.number, len(model), shared.count(larger), larger.number, len(larger),
            )  # fmt: skip
        else:
            kept[model.number] = model
            holder |= dict.fromkeys(model.names.tolist(), model)
    return [model for model in models if model.number in kept]
