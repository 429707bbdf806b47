"""Measures artefacts against the Keras model that they were made of."""

import logging
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from export.fidelity.artefact_descriptors import artefact_descriptors
from export.fidelity.fidelity import NS, Fidelity
from export.fidelity.photos import FidelityPhotos
from export.fidelity.runtime import Runtime
from export.manifest import bytes_of
from export.reading import Reading
from export.source import Source
from keras_sare.datasets import image_batches
from keras_sare.extraction import Extractor
from keras_sare.utils.progress import duration, progress

logger = logging.getLogger("keras_sare.export")

KERAS_MODEL = "Keras model"
_LARGE_BATCH = 8
_BLOCK_ROWS = 1024
_NORM_TOLERANCE = 0.01
_LEAST_LENGTH = 1e-12


class FidelityMeter:
    """Extracts descriptors of photos once by the Keras model, then by each artefact, and compares them.

    The Keras model sees photos as training and evaluation read them, and an artefact sees them as its users' photos
    come to it: a SavedModel gets the files in requests to `serving_default`, and TFLite and ONNX files get the pixels
    that `export/localise.py` reads. So what differs in decoding, turning or resizing shows in the cosines too.

    Of the photos no more than a few batches are in memory, and the descriptors of the model and of one artefact.

        meter = FidelityMeter(source, FidelityPhotos.of_places(splits["test"]))
        row = meter.measure("tflite/float16.tflite", "tflite", path)
        requirements.check(row)
        write_fidelity(folder, meter.rows)

    Args:
        source: the model, and the size of its images.
        photos: to extract the descriptors of.
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
        self._source = source
        self._photos = photos
        self._threads = threads
        self._batch_size = batch_size
        [self._image] = [images.numpy() for _, images in self._batches(photos.paths[:1])]
        _log_estimate(KERAS_MODEL, self._seconds_of_model(), photos)
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
            kind: one of `export.formats.FORMATS`.
            path: where it lies now.

        Raises:
            ValueError: it does not take the images, or gives descriptors that cannot be compared with the model's.
            ImportError: what runs it is not installed; the message has the line to install it with.
            RuntimeError: it cannot be loaded or run, or its process died.
        """
        row = self._measure(artefact, kind, path, lambda runtime: self._extract(artefact, kind, runtime))
        self.rows.append(row)
        return row

    def _seconds_of_model(self) -> float:
        """For a photo; of the second call, as the first one warms up."""
        self._source.model(self._image, training=False)
        started = time.monotonic()
        self._source.model(self._image, training=False)
        return time.monotonic() - started

    def _measure(self, artefact: str, kind: str, path: Path, extract: Callable[[Runtime], np.ndarray]) -> Fidelity:
        with Runtime(kind, path, self._threads) as runtime:
            # Memory before the batches, so that it says the same of artefacts that take them and of others.
            latency = runtime.latency(self._image)
            memory = runtime.peak_memory()
            batch = np.repeat(self._image, _LARGE_BATCH, axis=0)
            latency_of_batch = runtime.latency(batch) if runtime.takes_batches else None
            if artefact != KERAS_MODEL:  # Whose descriptors are there already.
                _log_estimate(artefact, latency_of_batch / _LARGE_BATCH if latency_of_batch else latency, self._photos)
            descriptors = extract(runtime)
        _check(artefact, descriptors, self._expected.shape[1])
        cosines = _cosines(descriptors, self._expected)
        recalls = self._recalls if descriptors is self._expected else self._photos.recalls(descriptors, NS)
        row = Fidelity(
            artefact=artefact,
            kind=kind,
            bytes=bytes_of(path),
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

    def _extract(self, artefact: str, kind: str, runtime: Runtime) -> np.ndarray:
        source = self._source
        reading = Reading(source.size, source.orientation, source.antialias)
        extracted = artefact_descriptors(runtime, kind, self._photos.paths, reading, self._batch_size)
        count = len(self._photos.paths)
        out = np.empty((count, runtime.extract(self._image).shape[1]), np.float32)
        for indices, descriptors in progress(extracted, artefact, count, "image", size=lambda batch: len(batch[0])):
            out[indices] = descriptors
        return out

    def _batches(self, paths: np.ndarray | None = None) -> Iterable[tuple[Any, Any]]:
        source = self._source
        paths = self._photos.paths if paths is None else paths
        return image_batches(paths, source.size, self._batch_size, None, source.orientation, source.antialias)


def _log_estimate(artefact: str, seconds: float, photos: FidelityPhotos) -> None:
    """Says how long an artefact is going to take for all photos, from what it took for one."""
    count = len(photos.paths)
    logger.info("%s: measuring on %d photos takes about %s", artefact, count, duration(seconds * count))


def _check(artefact: str, descriptors: np.ndarray, most: int) -> None:
    dim = descriptors.shape[1]
    wrong = ~(np.abs(np.linalg.norm(descriptors, axis=1) - 1) <= _NORM_TOLERANCE)
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
        own = descriptors[rows].astype(np.float64)
        other = expected[rows, : descriptors.shape[1]].astype(np.float64)
        lengths = np.linalg.norm(own, axis=1) * np.linalg.norm(other, axis=1)
        cosines[rows] = np.sum(own * other, axis=1) / np.maximum(lengths, _LEAST_LENGTH)
    return cosines
