"""Feature maps of many images on disk, for re-ranking."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sare.datasets.images.pipeline import image_batches
from keras_sare.extraction.inference import Inference
from keras_sare.models.crop_activations import split_at_pooling
from keras_sare.models.resizing import antialiases
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.files import atomic_path
from keras_sare.utils.progress import progress

_VALUES = "maps.bin"
_INDEX = "index.npz"


class ActivationMaps(Sequence[np.ndarray]):
    """Feature maps in a folder that `write_activation_maps` made: `maps[i]` reads that of image i.

    A map is read from the disk at every access and not cached, so memory holds those in use.

    Args:
        folder: of the maps.

    Attributes:
        shapes: (height, width, channels) of each map, int64 [N, 3].
        dtype: of the maps.

    Raises:
        ValueError: the folder holds no such maps.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder) / _VALUES
        try:
            with np.load(Path(folder) / _INDEX) as index:
                self._starts = index["starts"]
                self.shapes = index["shapes"]
                self.dtype = np.dtype(str(index["dtype"]))
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(
                f"`folder` must be one that `write_activation_maps` made. Received: folder={os.fspath(folder)!r}"
            ) from error

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        shape = self.shapes[index]
        with open(self.path, "rb") as file:
            values = np.fromfile(file, self.dtype, int(shape.prod()), offset=int(self._starts[index]))
        return values.reshape(shape)


@plain_arguments
def write_activation_maps(
    model: keras.Model,
    paths: Sequence[str] | np.ndarray,
    folder: str | os.PathLike[str],
    *,
    longer_side: int = 1024,
    quantise: Callable[[np.ndarray], np.ndarray] | None = None,
    batch_size: int = 4,
    orientation: str = "upright",
) -> ActivationMaps:
    """Computes what the pooling layer of a model pools, for many images, and writes it to a folder.

    Memory holds a few batches, whatever the number of images. The folder appears when all maps are in it.

    Args:
        model: one of `keras_sare.models.build`.
        paths: [N] image files.
        folder: to make; it must not exist. Deleting it is up to the caller.
        longer_side: most pixels of an image's longer side; smaller images are not enlarged.
        quantise: maps float32 [batch, height, width, channels] to what is stored, of the same shape, for example
            uint8; by default they are stored as they are.
        batch_size: images of one shape at a time.
        orientation: "upright" or "stored": how images are read, see `keras_sare.datasets.decode_image`.

    Returns:
        The maps, in the order of `paths`.

    Raises:
        ValueError: there are no images, the folder exists, or the model has no pooling layer that takes a feature map.
        tf.errors.InvalidArgumentError: an image cannot be read; the message names it.
    """
    if not len(paths):
        raise ValueError("`paths` must hold at least one image. Received: len(paths)=0")
    if Path(folder).exists():
        raise ValueError(
            "`folder` must not exist: open what it holds with `ActivationMaps(folder)`, or delete it. "
            f"Received: folder={os.fspath(folder)!r}"
        )
    trunk, _ = split_at_pooling(model)
    compute = Inference(trunk, trunk)
    images = image_batches(paths, longer_side, batch_size, None, orientation, antialiases(model))
    batches = progress(images, "feature maps", len(paths), "image", lambda batch: len(batch[0]))
    starts = np.zeros(len(paths), np.int64)
    shapes = np.zeros((len(paths), 3), np.int64)
    dtype = np.dtype("float32")
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        with open(temporary / _VALUES, "wb") as out:
            for indices, images in batches:
                maps = compute(images).numpy().astype(np.float32, copy=False)
                stored = np.ascontiguousarray(maps if quantise is None else quantise(maps))
                rows = indices.numpy()
                dtype = stored.dtype
                shapes[rows] = stored.shape[1:]
                starts[rows] = out.tell() + stored[0].nbytes * np.arange(len(rows))
                out.write(stored.data)
        np.savez(temporary / _INDEX, starts=starts, shapes=shapes, dtype=dtype.str)
    return ActivationMaps(folder)
