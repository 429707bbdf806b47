"""Models that turn image files into descriptors, as an index was built with them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keras_sare.utils.digests import path_digest
from keras_sare.utils.error_text import one_line
from keras_sare.utils.version_folders import version_folders

TOLERANT = "tolerant"
"""Signature of exported models that says of each photo what is wrong with it, where the others have descriptors."""

_NUMBERED = re.compile(r"image \d+: ")


class PhotoModel(Protocol):
    """What has descriptors of image files."""

    identity: str
    """Digest by which an index knows it."""

    def extract(self, files: Sequence[bytes]) -> tuple[np.ndarray, list[str]]:
        """Extracts descriptors.

        Args:
            files: contents of n image files, which are in memory together.

        Returns:
            float32 [n, dim], and of each file why it has no descriptor, empty where it has one.
        """


def open_photo_model(path: str | Path, preprocessing: Mapping[str, Any] | None = None) -> PhotoModel:
    """Opens a model.

    Args:
        path: a SavedModel of `python -m export`, the folder of its versions, of which the newest is taken, or a
            `.keras` file.
        preprocessing: how photos are read for a `.keras` file, as `IndexRecord` has it. A SavedModel reads them itself.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: it cannot be used, or `preprocessing` is missing.
    """
    path = Path(path)
    newest = list(version_folders(path).values())[-1:]
    for folder in (path, *newest):
        if (folder / "saved_model.pb").is_file():
            return SavedModel(folder)
    if path.suffix == ".keras":
        return KerasFile(path, preprocessing)
    raise FileNotFoundError(
        f"`model` must be an exported SavedModel, the folder of its versions, or a .keras file. "
        f"Received: model={str(path)!r}"
    )


class SavedModel:
    """An exported model, which decodes files itself.

    Args:
        folder: of the version, with `saved_model.pb`.

    Raises:
        ValueError: it cannot be loaded, or has no signature `tolerant`.
    """

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self.identity = path_digest(folder)
        try:
            self._loaded = tf.saved_model.load(folder)
            self._tolerant = self._loaded.signatures[TOLERANT]
        except Exception as error:  # The loader raises what it likes.
            raise ValueError(
                f"`model` must be a SavedModel with the signature {TOLERANT!r}; export the model again. "
                f"Received: model={str(folder)!r}, which fails with: {one_line(error)}"
            ) from error

    def extract(self, files: Sequence[bytes]) -> tuple[np.ndarray, list[str]]:
        """See `PhotoModel.extract`."""
        import tensorflow as tf

        answer = self._tolerant(image_bytes=tf.constant([*files], tf.string))
        return answer["embedding"].numpy(), errors_of(answer["error"].numpy())


class KerasFile:
    """A `.keras` file.

    Args:
        path: of the file.
        preprocessing: how photos are read for it, as `IndexRecord` has it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or `preprocessing` is missing.
    """

    def __init__(self, path: Path, preprocessing: Mapping[str, Any] | None) -> None:
        from keras_sare.datasets import ShorterSide
        from keras_sare.datasets.images.pipeline import bytes_decoder
        from keras_sare.extraction import Extractor
        from keras_sare.models.model_file import identity_of, open_model_file

        if preprocessing is None:
            raise ValueError(
                "`index` must say how photos are read for a .keras file, as one does that was built with it; build it "
                f"anew, or take the model that it was built with. Received: model={str(path)!r}"
            )
        model = open_model_file(path)
        self.identity = identity_of(model)
        self._extractor = Extractor(model)
        size = preprocessing["size"]
        one_side = (ShorterSide if preprocessing["shorter"] else int)(size[0])
        how = preprocessing["orientation"], preprocessing["antialias"]
        self._decode = bytes_decoder(one_side if len(size) == 1 else tuple(size), False, *how)

    def extract(self, files: Sequence[bytes]) -> tuple[np.ndarray, list[str]]:
        """See `PhotoModel.extract`."""
        descriptors = np.zeros((len(files), *self._extractor.output_shape), np.float32)
        errors = [self._extract_one(file, descriptors[row : row + 1]) for row, file in enumerate(files)]
        return descriptors, errors

    def _extract_one(self, file: bytes, out: np.ndarray) -> str:
        """Fills in the descriptor of a file, or returns why there is none."""
        import tensorflow as tf

        from keras_sare.datasets.images.pixels import why_undecodable
        from keras_sare.extraction.extractor import DescriptionError

        if not file:
            return "empty"
        try:
            with tf.device("CPU:0"):
                image = tf.cast(self._decode(tf.constant(file)), tf.float32)
        except tf.errors.InvalidArgumentError:
            return str(why_undecodable(file).numpy().decode())
        try:
            self._extractor([(np.zeros(1, np.int64), image[None])], 1, out, "")
        except DescriptionError as error:
            return one_line(error)
        return ""


def errors_of(texts: np.ndarray) -> list[str]:
    """What the output `error` of an exported model says of each file, bytes [n], without its number in the batch."""
    return [_NUMBERED.sub("", text.decode(errors="replace"), count=1) for text in texts.tolist()]
