"""Measures artefacts against the Keras model that they were made of."""

import logging
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from export.fidelity import NS, Fidelity
from export.fidelity_photos import FidelityPhotos
from export.runtime import Runtime
from export.source import Source
from keras_sare.datasets import image_batches
from keras_sare.models import Extractor
from keras_sare.utils.progress import progress

logger = logging.getLogger("keras_sare.export")

KERAS_MODEL = "Keras model"
_LARGE_BATCH = 8
_BLOCK_ROWS = 1024
_NORM_TOLERANCE = 0.01
_LEAST_LENGTH = 1e-12


class FidelityMeter:
    """Describes photos once by the Keras model, then by each artefact, and compares.

    Of the photos no more than a few batches are in memory, and the descriptors of the model and of one artefact.

        meter = FidelityMeter(source, FidelityPhotos.of_places(splits["test"]))
        row = meter.measure("tflite/float16.tflite", "tflite", path)
        requirements.check(row)
        write_fidelity(folder, meter.rows)

    Args:
        source: the model, and the size of its images.
        photos: to describe.
        threads: that each artefact computes with, and the Keras model when its time is taken.
        batch_size: images that an artefact is given at a time.

    Attributes:
        rows: what was measured: first of the Keras model, in a process of its own too, then of each artefact.

    Raises:
        ValueError: no query has a database image near it.
        tf.errors.InvalidArgumentError: a photo cannot be read; it is named.
        RuntimeError: the process of the Keras model failed.
    """

    def __init__(self, source: Source, photos: FidelityPhotos, threads: int = 2, batch_size: int = 8) -> None:
        self._source, self._photos, self._threads, self._batch_size = source, photos, threads, batch_size
        [self._image] = [images.numpy() for _, images in image_batches(photos.paths[:1], source.size, 1)]
        self._expected = Extractor(source.model)(self._batches(), len(photos.paths), description=KERAS_MODEL)
        self._recalls = photos.recalls(self._expected, NS)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            source.model.save(path)
            self.rows = [self._measure(KERAS_MODEL, "keras", path, lambda _: self._expected)]

    def measure(self, artefact: str, kind: str, path: Path) -> Fidelity:
        """Measures an artefact, and adds it to `rows`.

        Args:
            artefact: its name in the table.
            kind: one of `export.runtime.KINDS`.
            path: where it lies now.

        Raises:
            ValueError: it does not take the images, or gives descriptors that cannot be compared with the model's.
            ImportError: what runs it is not installed; the message has the line to install it with.
            RuntimeError: it cannot be loaded or run, or its process died.
        """
        row = self._measure(artefact, kind, path, lambda runtime: self._describe(artefact, runtime))
        self.rows.append(row)
        return row

    def _measure(self, artefact: str, kind: str, path: Path, describe: Callable[[Runtime], np.ndarray]) -> Fidelity:
        with Runtime(kind, path, self._threads) as runtime:
            # Memory before the batches, so that it says the same of artefacts that take them and of others.
            latency, memory = runtime.latency(self._image), runtime.peak_memory()
            batch = np.repeat(self._image, _LARGE_BATCH, axis=0)
            latency_of_batch = runtime.latency(batch) if runtime.takes_batches else None
            descriptors = describe(runtime)
        _check(artefact, descriptors, self._expected.shape[1])
        cosines = _cosines(descriptors, self._expected)
        recalls = self._recalls if descriptors is self._expected else self._photos.recalls(descriptors, NS)
        row = Fidelity(
            artefact=artefact,
            kind=kind,
            bytes=_bytes(path),
            dim=descriptors.shape[1],
            data=self._photos.description,
            images=len(cosines),
            cosine_min=float(cosines.min()),
            cosine_median=float(np.median(cosines)),
            ns=tuple(recalls),
            recalls=tuple(recalls.values()),
            keras_recalls=tuple(self._recalls.values()),
            threads=self._threads,
            image_size=self._image.shape[1:3],
            latency_1=latency,
            latency_8=latency_of_batch,
            peak_memory=memory,
        )
        logger.info("%s: %.1f MB, smallest cosine %.6f", artefact, row.bytes / 1e6, row.cosine_min)
        return row

    def _describe(self, artefact: str, runtime: Runtime) -> np.ndarray:
        count = len(self._photos.paths)
        out = np.empty((count, runtime.describe(self._image).shape[1]), np.float32)
        for indices, images in progress(self._batches(), artefact, count, "image", size=lambda batch: len(batch[0])):
            out[indices.numpy()] = runtime.describe(images.numpy())
        return out

    def _batches(self) -> Iterable[tuple[Any, Any]]:
        return image_batches(self._photos.paths, self._source.size, self._batch_size)


def _check(artefact: str, descriptors: np.ndarray, most: int) -> None:
    dim, wrong = descriptors.shape[1], ~(np.abs(np.linalg.norm(descriptors, axis=1) - 1) <= _NORM_TOLERANCE)
    if dim > most or wrong.any():
        raise ValueError(
            f"{artefact!r} must give descriptors of norm 1, of {most} numbers as the Keras model does, or of the first "
            f"of them. Received: dim={dim}, and {np.count_nonzero(wrong)} of {len(wrong)} have another norm or numbers "
            "that are not finite"
        )


def _cosines(descriptors: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Cosine of each row to the first components of that of the Keras model, float64."""
    cosines = np.empty(len(descriptors))
    for start in range(0, len(cosines), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        own, other = descriptors[rows].astype(np.float64), expected[rows, : descriptors.shape[1]].astype(np.float64)
        lengths = np.linalg.norm(own, axis=1) * np.linalg.norm(other, axis=1)
        cosines[rows] = np.sum(own * other, axis=1) / np.maximum(lengths, _LEAST_LENGTH)
    return cosines


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
