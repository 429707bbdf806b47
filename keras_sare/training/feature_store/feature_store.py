"""The output of the frozen part of a model, computed once per image and kept on disk."""

import hashlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_sare.extraction.inputs import ImageInputs
from keras_sare.training.feature_store.chunk_files import ChunkFiles
from keras_sare.training.feature_store.frozen_trunk import FrozenTrunk

FILE_BYTES = 64_000_000
"""Size of a file: little is lost by a kill, and a million images of VGG16 at 480 x 640 are 20 thousand files."""

# Part of the key: to be raised when images are decoded otherwise or the files are laid out otherwise.
_FORMAT = 2


class FeatureStore:
    """Rows of a frozen trunk's output by image id: read from files where they are there, else computed when asked for.

    The files lie in a folder `trunk-<digest>`. The digest is of all but the images that the output depends on: the
    layers, with the preprocessing among them and the layer where the model is cut, their weights, the size and the
    orientation of the images, the type of the numbers. So runs that differ in the loss or the seed share a store, and
    one that differs in any of these gets another. The images of a file are part of its name,
    `maps-<paths>-<state>.npy`: digests of their paths, and of their sizes and times of change. Where an image is
    replaced, its file alone is computed anew, and the outdated one is deleted; so machines that share a store must see
    the images with the same times.

    Args:
        folder: where stores are kept, those of other settings too.
        trunk: frozen part of the model.
        images: the images, all of one size.
        batch_size: images that are computed at a time.
        file_bytes: largest file; a file holds one row at least.

    Attributes:
        files: the files, see `ChunkFiles`.
        shape: [N, ...] of all rows.
        dtype: of the rows.
    """

    def __init__(
        self, folder: Path, trunk: FrozenTrunk, images: ImageInputs, batch_size: int, file_bytes: int = FILE_BYTES
    ) -> None:
        self.trunk = trunk
        self.images = images
        self.batch_size = batch_size
        self.shape = (len(images.paths), *trunk.output_shape(images.size))
        row_bytes = math.prod(self.shape[1:]) * tf.as_dtype(trunk.dtype).size
        rows_per_file = max(1, int(file_bytes) // row_bytes)
        digest = hashlib.sha256(repr((_FORMAT, rows_per_file, images.key, trunk.digest)).encode())
        own_folder = folder / f"trunk-{digest.hexdigest()[:16]}"
        labels = _labels(images, rows_per_file)
        self.files = ChunkFiles(own_folder, self.shape, trunk.dtype, rows_per_file, labels)
        self.dtype = self.files.dtype

    def fill(self, files: np.ndarray) -> Iterator[int]:
        """Computes some files, while it is iterated over. Each appears when it is complete: a kill loses one.

        Args:
            files: their numbers, int64.

        Yields:
            How many images were computed since the last time.

        Raises:
            ValueError: a value is too large for the trunk's dtype; the message names the image.
            OSError: the disk is full, for example.
        """
        if not len(files):
            return
        self.files.remove_dead()
        ids = np.concatenate([self.files.rows(file) for file in files.tolist()])
        writer = _FileWriter(self.files, files)
        for positions, pixels in self.images.batches(ids, self.batch_size):
            writer.add(self.compute(ids[positions.numpy()], pixels, self.trunk.shared))
            yield len(positions)
        self._remove_outdated()

    def __getitem__(self, ids: np.ndarray) -> np.ndarray:
        """Rows [n, ...] of `ids`, int64 [n] in any order."""
        stored = self.files.present[ids // self.files.rows_per_file]
        if stored.all():
            return self.files.read(ids)
        out = np.empty((len(ids), *self.shape[1:]), self.dtype)
        out[stored] = self.files.read(ids[stored])
        missing = np.flatnonzero(~stored)
        for start in range(0, len(missing), self.batch_size):
            batch = missing[start : start + self.batch_size]
            out[batch] = self.compute(ids[batch], self.images[ids[batch]], self.trunk.forward)
        return out

    def _remove_outdated(self) -> None:
        """Deletes what was computed before an image changed, where the new file is there."""
        present = [self.files.path(file).stem for file in np.flatnonzero(self.files.present).tolist()]
        states = dict(stem.rsplit("-", 1) for stem in present)
        for path in self.files.folder.glob("maps-*-*.npy"):
            paths, state = path.stem.rsplit("-", 1)
            if states.get(paths, state) != state:
                path.unlink(missing_ok=True)

    def compute(self, ids: np.ndarray, pixels: Any, forward: Callable[[Any], Any]) -> np.ndarray:
        values = forward(pixels).numpy()
        bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
        if len(bad):
            way_out = (
                "float16 ends at 65504: store it as bfloat16, which has the range of float32, or train without the "
                "store, which a budget of 0 turns off"
                if self.dtype == np.float16
                else "The weights of these layers are not those of a trained model"
            )
            raise ValueError(
                f"The frozen layers' output of image {self.images.paths[ids[bad[0]]]} is not finite in "
                f"{self.dtype.name}. {way_out}. Received: dtype={self.dtype.name!r}"
            )
        return values


class _FileWriter:
    """Puts batches of rows together to files, and writes each when it is complete."""

    def __init__(self, files: ChunkFiles, numbers: np.ndarray) -> None:
        self._files = files
        self._numbers = iter(numbers.tolist())
        self._missing = 0

    def add(self, batch: np.ndarray) -> None:
        while len(batch):
            if not self._missing:
                self._number = next(self._numbers)
                self._missing = len(self._files.rows(self._number))
                self._rows = np.empty((self._missing, *batch.shape[1:]), batch.dtype)
            taken = min(len(batch), self._missing)
            start = len(self._rows) - self._missing
            self._rows[start : start + taken] = batch[:taken]
            batch = batch[taken:]
            self._missing -= taken
            if not self._missing:
                self._files.write(self._number, self._rows)


def _labels(images: ImageInputs, rows_per_file: int) -> list[str]:
    """For each file, digests of its images' paths and of the state that they are in: `<paths>-<state>`."""
    labels = []
    for start in range(0, len(images.paths), rows_per_file):
        paths = hashlib.sha256()
        state = hashlib.sha256()
        for path in images.paths[start : start + rows_per_file]:
            status = os.stat(path)
            paths.update(f"{os.path.abspath(path)}\0".encode())
            state.update(f"{status.st_size}\0{status.st_mtime_ns}\0".encode())
        labels.append(f"{paths.hexdigest()[:16]}-{state.hexdigest()[:8]}")
    return labels
