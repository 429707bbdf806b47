"""The `.keras` file of a model: for Keras programs that import keras_sare."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.formats.format import Artefact, Format, Loaded, Request, import_package, import_tensorflow

if TYPE_CHECKING:
    from export.source import Source

_TOLERANCE = 1e-6


def write_keras(source: "Source", path: Path) -> None:
    """Writes a model as a `.keras` file, and reads it again.

    Args:
        source: what is exported.
        path: file to write; its name must end in `.keras`.

    Raises:
        ValueError: the name ends otherwise.
        RuntimeError: the model that was read again gives other descriptors; nothing is written then.
    """
    from keras_sare.utils.files import atomic_path

    if path.suffix != ".keras":
        raise ValueError(f"`path` must end in .keras. Received: path={str(path)!r}")
    with atomic_path(path) as temporary:
        source.model.save(temporary)
        difference = largest_difference(source, temporary)
        if not difference <= _TOLERANCE:
            raise RuntimeError(
                "The model that was written must give the same descriptors when it is read again, but an entry differs "
                f"by {difference:.2g}. Nothing was exported; please report this as a bug."
            )


def largest_difference(source: "Source", path: Path) -> float:
    """How much a file that is read back differs from the model, in an entry of a descriptor."""
    import keras
    import numpy as np

    from export.source import sample_image

    image = sample_image(source.size)
    models = source.model, keras.saving.load_model(path)
    before, after = (keras.ops.convert_to_numpy(model(image, training=False)) for model in models)
    return float(np.abs(before - after).max())


def _plan(request: Request, _: Mapping[str, Any]) -> Iterator[Artefact]:
    yield Artefact("keras", "keras/model.keras", partial(write_keras, request.source))


def _load(path: str, threads: int) -> Loaded:
    tensorflow = import_tensorflow(threads)
    import_package("keras_sare.models", "cpu")  # Its layers make themselves known to Keras.
    model = import_package("keras", "cpu").saving.load_model(path, compile=False)
    extract = tensorflow.function(lambda images: model(images, training=False), reduce_retracing=True)
    return lambda images: extract(tensorflow.constant(images)).numpy(), tuple(model.input.shape), None


FORMAT = Format(
    name="keras",
    description="keras/model.keras, for Keras programs that import keras_sare",
    plan=_plan,
    load=_load,
    photos="batches",
)
