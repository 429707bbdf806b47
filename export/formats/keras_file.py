"""The `.keras` file of a model: for Keras programs that import keras_sare."""

from pathlib import Path

import keras
import numpy as np

from export.source import Source, sample_image
from keras_sare.utils.files import atomic_path

_TOLERANCE = 1e-6


def write_keras(source: Source, path: Path) -> None:
    """Writes a model as a `.keras` file, and reads it again.

    Args:
        source: what is exported.
        path: file to write; its name must end in `.keras`.

    Raises:
        ValueError: the name ends otherwise.
        RuntimeError: the model that was read again gives other descriptors; nothing is written then.
    """
    if path.suffix != ".keras":
        raise ValueError(f"`path` must end in .keras. Received: path={str(path)!r}")
    with atomic_path(path) as temporary:
        source.model.save(temporary)
        difference = _difference(source, temporary)
        if not difference <= _TOLERANCE:
            raise RuntimeError(
                "The model that was written must give the same descriptors when it is read again, but an entry differs "
                f"by {difference:.2g}. Nothing was exported; please report this as a bug."
            )


def _difference(source: Source, path: Path) -> float:
    image = sample_image(source.size)
    models = source.model, keras.saving.load_model(path)
    before, after = (keras.ops.convert_to_numpy(model(image, training=False)) for model in models)
    return float(np.abs(before - after).max())
