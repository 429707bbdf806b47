"""Exported models: SavedModels, TFLite and ONNX files, each in a process of its own as where it is used."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from export.fidelity.artefact_descriptors import artefact_descriptors
from export.fidelity.runtime import Runtime
from keras_sare.utils.progress import progress
from serving.descriptors.descriptor_model import DescriptorModel, Rows


@dataclass(frozen=True, eq=False)
class Artefact(DescriptorModel):
    """An artefact of `python -m export`, or one like it.

    Attributes:
        kind: one of `export.formats.FORMATS`.
        path: the file, or the version folder of a SavedModel.
    """

    kind: str = field(kw_only=True)
    path: Path = field(kw_only=True)

    def extract(self, paths: np.ndarray, batch_size: int, out: Rows) -> None:
        """See `DescriptorModel.extract`."""
        with Runtime(self.kind, self.path) as runtime:
            extracted = artefact_descriptors(runtime, self.kind, paths, self.reading, batch_size)
            for indices, descriptors in progress(extracted, self.name, len(paths), "image", lambda one: len(one[0])):
                out[indices] = descriptors
