"""Keras models: `.keras` files, runs, and files of other projects."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from export.source import Source
from keras_sare.datasets import image_batches
from keras_sare.extraction import Extractor
from keras_sare.extraction.named_batches import errors_of_files, extract_files
from serving.descriptors.descriptor_model import DescriptorModel, Rows


@dataclass(frozen=True, eq=False)
class KerasModel(DescriptorModel):
    """A model in this process.

    Attributes:
        source: of the model.
        extractor: of it; the same model on images of another size shares it, and its graph is traced once.
    """

    source: Source = field(kw_only=True)
    extractor: Extractor = field(kw_only=True)

    def extract(self, paths: np.ndarray, batch_size: int, out: Rows) -> None:
        """See `DescriptorModel.extract`."""
        how = self.source
        size = self.reading.size if self.reading else how.size
        batches = image_batches(paths, size, batch_size, None, how.orientation, how.antialias)
        target: Any = out
        with errors_of_files():
            extract_files(self.extractor, batches, paths, target, self.name)
