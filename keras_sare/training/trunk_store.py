"""The output of the frozen part of a model, computed once per image and kept on disk."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sare.datasets import load_image
from keras_sare.training.chunk_files import ChunkFiles
from keras_sare.training.describer import SplitModel
from keras_sare.training.inputs import ImageInputs
from keras_sare.training.workers import Workers
from keras_sare.utils.progress import progress

DTYPES = ("float16", "bfloat16", "float32")

FILE_BYTES = 64_000_000
"""Size of a file: little is lost by a kill, and a million images of VGG16 at 480 x 640 are 20 thousand files."""

# Part of the key: to be raised when images are decoded otherwise or the files are laid out otherwise.
_FORMAT = 2
_DECODERS = ThreadPoolExecutor(4, "trunk-store")


class TrunkStore:
    """Rows of a frozen trunk's output by image id: read from files where they are there, else computed when asked for.

    The files lie in a folder `trunk-<digest>`. The digest is of all but the images that the output depends on: the
    layers, with the preprocessing among them and the layer where the model is cut, their weights, the size of the
    images, the type of the numbers. So runs that differ in the loss or the seed share a store, and one that differs in
    any of these gets another. The images of a file are part of its name, `maps-<paths>-<state>.npy`: digests of their
    paths, and of their sizes and times of change. Where an image is replaced, its file alone is computed anew, and the
    outdated one is deleted; so machines that share a store must see the images with the same times.

    Args:
        folder: where stores are kept, those of other settings too.
        trunk: frozen part of the model: one output of images.
        images: the images.
        batch_size: images that are computed at a time.
        dtype: "float16" (11 bits of precision, up to 65504), "bfloat16" (8 bits, up to 3e38) or "float32".
        file_bytes: largest file; a file holds one row at least.
        strategy: whose replicas on this worker share a batch of what is stored; by default one device.

    Attributes:
        files: the files, see `ChunkFiles`.
        shape: [N, ...] of all rows.
        dtype: of the rows.

    Raises:
        ValueError: `dtype` is none of the three.
    """

    def __init__(
        self,
        folder: Path,
        trunk: keras.Model,
        images: ImageInputs,
        batch_size: int,
        dtype: str = "float16",
        file_bytes: int = FILE_BYTES,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"`dtype` must be one of {', '.join(DTYPES)}. Received: dtype={dtype!r}")
        self.images, self.batch_size = images, batch_size
        self.shape = (len(images.paths), *trunk.compute_output_shape((1, *images.size, 3))[1:])
        row_bytes = math.prod(self.shape[1:]) * tf.as_dtype(dtype).size
        rows_per_file = max(1, int(file_bytes) // row_bytes)
        digest = hashlib.sha256(repr((_FORMAT, dtype, rows_per_file, tuple(images.size))).encode())
        _add_trunk(digest, trunk)
        own_folder, labels = folder / f"trunk-{digest.hexdigest()[:16]}", _labels(images, rows_per_file)
        self.files = ChunkFiles(own_folder, self.shape, dtype, rows_per_file, labels)
        self.dtype = self.files.dtype
        # Cast on the device: half of the bytes have to leave it.
        model = keras.Model(trunk.input, keras.ops.cast(trunk.output, dtype))
        self._forward = self._shared = _compile(model, images.size)
        if strategy and (replicas := Workers(strategy).local_replicas) > 1:
            self._shared = _compile(SplitModel(model, strategy, replicas), images.size)

    def fill(self, files: np.ndarray, description: str) -> None:
        """Computes some files. Each appears when it is complete, so that a kill loses one.

        Args:
            files: their numbers, int64.
            description: text of the progress bar.

        Raises:
            ValueError: a value is too large for `dtype`; the message names the image.
            OSError: the disk is full, for example.
        """
        if not len(files):
            return
        self.files.remove_dead()
        ids = np.concatenate([self.files.rows(file) for file in files.tolist()])
        batches = progress(
            self.images.batches(ids, self.batch_size), description, len(ids), "image", size=lambda batch: len(batch[0])
        )
        values = (self._compute(ids[positions.numpy()], pixels, self._shared) for positions, pixels in batches)
        parts = _cut(values, [len(self.files.rows(file)) for file in files.tolist()])
        for file, part in zip(files.tolist(), parts, strict=True):
            self.files.write(file, part)
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
            out[batch] = self._compute(ids[batch], self._load(ids[batch]), self._forward)
        return out

    def _remove_outdated(self) -> None:
        """Deletes what was computed before an image changed, where the new file is there."""
        present = [self.files.path(file).stem for file in np.flatnonzero(self.files.present).tolist()]
        states = dict(stem.rsplit("-", 1) for stem in present)
        for path in self.files.folder.glob("maps-*-*.npy"):
            paths, state = path.stem.rsplit("-", 1)
            if states.get(paths, state) != state:
                path.unlink(missing_ok=True)

    def _load(self, ids: np.ndarray) -> np.ndarray:
        paths = self.images.paths[ids]
        return np.stack(list(_DECODERS.map(lambda path: load_image(str(path), self.images.size), paths)))

    def _compute(self, ids: np.ndarray, pixels: Any, forward: Callable[[Any], Any]) -> np.ndarray:
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


def _compile(model: Callable[..., Any], size: tuple[int, int]) -> Callable[[Any], Any]:
    spec = tf.TensorSpec((None, *size, 3), tf.float32)
    return tf.function(lambda pixels: model(pixels, training=False), input_signature=[spec])


def _cut(batches: Iterator[np.ndarray], lengths: Sequence[int]) -> Iterator[np.ndarray]:
    """Puts batches of rows together to arrays of the given lengths, which add up to the rows there are."""
    parts, waiting = iter(lengths), 0
    for batch in batches:
        while len(batch):
            if not waiting:
                waiting = next(parts)
                out = np.empty((waiting, *batch.shape[1:]), batch.dtype)
            taken = min(len(batch), waiting)
            start = len(out) - waiting
            out[start : start + taken], batch = batch[:taken], batch[taken:]
            waiting -= taken
            if not waiting:
                yield out


def _add_trunk(digest: Any, trunk: keras.Model) -> None:
    names = {layer.name: f"layer {i}" for i, layer in enumerate(trunk.layers)}
    config = {key: value for key, value in trunk.get_config().items() if key != "name"}
    digest.update(json.dumps(_canonical(config, names), sort_keys=True).encode())
    for weight in trunk.weights:
        digest.update(keras.ops.convert_to_numpy(weight).tobytes())


def _canonical(value: Any, names: Mapping[str, str]) -> Any:
    """A configuration without what does not change the output: the layers' names, and whether they are trained."""
    if isinstance(value, Mapping):
        return {key: _canonical(item, names) for key, item in value.items() if key != "trainable"}
    if isinstance(value, list | tuple):
        return [_canonical(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


def _labels(images: ImageInputs, rows_per_file: int) -> list[str]:
    """For each file, digests of its images' paths and of the state that they are in: `<paths>-<state>`."""
    labels = []
    for start in range(0, len(images.paths), rows_per_file):
        paths, state = hashlib.sha256(), hashlib.sha256()
        for path in images.paths[start : start + rows_per_file]:
            status = os.stat(path)
            paths.update(f"{os.path.abspath(path)}\0".encode())
            state.update(f"{status.st_size}\0{status.st_mtime_ns}\0".encode())
        labels.append(f"{paths.hexdigest()[:16]}-{state.hexdigest()[:8]}")
    return labels
