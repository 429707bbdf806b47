"""Batches of image files whose errors name the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from keras_sare.extraction.extractor import DescriptionError, Extractor


@contextmanager
def errors_of_files() -> Iterator[None]:
    """Turns TensorFlow's error of a file that cannot be read into a `ValueError` of one line, which names the file."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(error.message.splitlines()[0].removeprefix("ValueError: ")) from error


def extract_files(extractor: Extractor, batches: Any, paths: np.ndarray, out: np.ndarray, name: str) -> np.ndarray:
    """Extracts descriptors of image files; what goes wrong is said with the file.

    Args:
        extractor: gives the descriptors.
        batches: (indices into `paths` int64 [batch], inputs [batch, ...]).
        paths: [N] image files.
        out: array [N, ...] to fill.
        name: text of the progress bar.

    Returns:
        `out`.

    Raises:
        ValueError: an image is too small for the model, or its descriptor is not finite or zero.
        RuntimeError: the model fails on an image, for example for lack of memory.
        tf.errors.InvalidArgumentError: an image cannot be read; the message names it.
    """
    with _NamedBatches(batches, paths) as named:
        return extractor(named, len(paths), out, name)


class _NamedBatches:
    """Batches; an error of what is done with one of them names its images, where one of reading them does so itself."""

    def __init__(self, batches: Any, paths: np.ndarray) -> None:
        self.batches = batches
        self.paths = paths
        self.current = np.zeros(0, np.int64)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for indices, inputs in self.batches:
            self.current = indices.numpy()
            yield indices, inputs
            self.current = self.current[:0]

    def __enter__(self) -> "_NamedBatches":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, DescriptionError):
            raise ValueError(f"Cannot extract {', '.join(self.paths[error.indices])}: {error}") from error
        if isinstance(error, tf.errors.OpError) and len(self.current):
            raise RuntimeError(
                f"Cannot extract {', '.join(self.paths[self.current])}: {error.message}. For lack of memory lower "
                "`batch_size` or the size of the images"
            ) from error
