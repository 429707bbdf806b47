"""Feature maps of the database images that are re-ranked."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_sare.datasets.images.image_sizes import fitted_size, image_sizes
from keras_sare.evaluation.comparisons.comparison_settings import ComparisonSettings
from keras_sare.extraction.activation_maps import ActivationMaps, write_activation_maps
from keras_sare.extraction.array_cache import ArrayCache, model_digest
from keras_sare.models.crop_activations import split_at_pooling, stride
from keras_sare.retrieval.reranking.integral_volumes import quantise_activations
from keras_sare.utils.files import free_bytes

# On VGG16's maps, boxes come out nearer to their true maxima than with the paper's 8.
_LEVELS = 16


class DatabaseMaps(Sequence[np.ndarray]):
    """Feature maps by number of the database image, of the images that have one.

    Args:
        maps: of some images.
        images: int64, their numbers.
        database: number of all images.
    """

    def __init__(self, maps: Sequence[np.ndarray], images: np.ndarray, database: int) -> None:
        self.maps = maps
        self.database = database
        self.rows = {image: row for row, image in enumerate(images.tolist())}

    def __len__(self) -> int:
        return self.database

    def __getitem__(self, image: Any) -> Any:
        return self.maps[self.rows[int(image)]]


def map_bytes(model: keras.Model, paths: np.ndarray, longer_side: int, orientation: str = "upright") -> int:
    """Bytes on the disk of the feature maps of some images, a byte for each activation.

    Args:
        model: one of `keras_sare.models.build`.
        paths: [N] image files; only their headers are read.
        longer_side: most pixels of an image's longer side.
        orientation: "upright" or "stored": how images are read.
    """
    trunk, _ = split_at_pooling(model)
    cell = stride(trunk)
    sizes, counts = np.unique(image_sizes(paths, orientation), axis=0, return_counts=True)
    fitted = (fitted_size(height, width, longer_side) for height, width in sizes.tolist())
    cells = [math.ceil(height / cell) * math.ceil(width / cell) for height, width in fitted]
    return int(np.dot(cells, counts)) * int(trunk.output.shape[-1])


def check_room(cache: ArrayCache, model: keras.Model, paths: np.ndarray, settings: ComparisonSettings) -> None:
    """Checks that feature maps fit on the disk.

    Args:
        cache: where they go.
        model: gives them.
        paths: [N] images that have one.
        settings: of the comparison.

    Raises:
        OSError: there is too little room.
    """
    needed = map_bytes(model, paths, settings.longer_side, settings.orientation)
    free = free_bytes(cache.folder)
    if needed > free:
        raise OSError(
            f"Re-ranking needs {needed / 1e9:.1f} GB of disk at {str(cache.folder)!r} for the feature maps of "
            f"{len(paths)} images, until the table is written, and {free / 1e9:.1f} GB are free. Take a smaller "
            "`rerank` (0: none) or `longer_side`, or a folder on another disk; finished descriptors stay cached. "
            f"Received: rerank={settings.rerank}, longer_side={settings.longer_side}"
        )


def database_maps(
    cache: ArrayCache,
    model: keras.Model,
    database: np.ndarray,
    images: np.ndarray,
    limit: float,
    settings: ComparisonSettings,
) -> DatabaseMaps:
    """Computes feature maps, or takes those in the cache.

    Args:
        cache: where they go.
        model: gives them.
        database: [N] image files.
        images: int64, numbers of those that get a map.
        limit: activations beyond it are cut off.
        settings: of the comparison.

    Raises:
        OSError: the disk has too little room for them.
    """
    paths = database[images]
    size = settings.longer_side
    orientation = settings.orientation
    folder = cache.folder_of("feature maps", model_digest(model), paths, size, limit, _LEVELS, orientation)
    if not folder.is_dir():
        check_room(cache, model, paths, settings)
        quantise = functools.partial(quantise_activations, limit=limit, levels=_LEVELS)
        write_activation_maps(
            model,
            paths,
            folder,
            longer_side=size,
            quantise=quantise,
            batch_size=settings.batch_size,
            orientation=orientation,
        )
    return DatabaseMaps(ActivationMaps(folder), images, len(database))
