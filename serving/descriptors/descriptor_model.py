"""What a program asks of a model that has descriptors of image files, whatever it is made of."""

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from export.reading import Reading
from export.source import Size

logger = logging.getLogger("keras_sare.descriptors")


class Rows(Protocol):
    """What descriptors are written to: an array, or what stands for rows of one."""

    def __setitem__(self, rows: np.ndarray, descriptors: np.ndarray, /) -> None: ...


@dataclass(frozen=True, eq=False)
class DescriptorModel(ABC):
    """Something that has descriptors of image files.

    Attributes:
        name: in tables.
        identity: text that changes whenever its descriptors of the same images may.
        reading: how images are read for it; None where it reads files itself, or none at all.
    """

    name: str
    identity: str
    reading: Reading | None

    def resizing_to(self, size: Size) -> "DescriptorModel":
        """The same model on images of another size, as a protocol asks of queries. What reads files itself stays."""
        if self.reading is None:
            logger.warning("%s reads images in its own way: not resized as the protocol says", self.name)
            return self
        return replace(self, reading=self.reading._replace(size=size))

    @abstractmethod
    def extract(self, paths: np.ndarray, batch_size: int, out: Rows) -> None:
        """Extracts the descriptors of image files, with a progress bar.

        Args:
            paths: [N] files.
            batch_size: images at a time.
            out: is given float32 [b, dim] for int64 [b] indices into `paths`, each index once, in any order.

        Raises:
            ValueError: an image has no descriptor; it is named.
            RuntimeError: the model cannot be run.
        """
