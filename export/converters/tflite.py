"""TensorFlow Lite (LiteRT) files of a model, for phones and small computers.

A file has the signature `serving_default` with one input, `images`, float32 [batch, height, width, 3], RGB in 0..255,
and one output, `embedding`, float32 [batch, dim], rows of norm 1; preprocessing and whitening are inside. It consists
of builtin operations only: the plain runtime (ai-edge-litert, or that of Android and iOS) runs it, with XNNPACK.

A file takes images of any size and batches of any size, and is about as fast as one of a fixed size; before `resize`
it stands at the size that the model was evaluated with. Some compilers for accelerators want a fixed size. Resize with
`strict=True`: without it the runtime resizes a file of a fixed size too, and its descriptors are then wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from export.converters.tflite_check import check_operations
from export.converters.tflite_convert import float32_bytes
from export.converters.tflite_quantised import DYNAMIC_INT8, FLOAT16, Recipe, quantised
from export.quantisation.calibration import CalibrationPhotos
from export.quantisation.quantise import balanced, small
from export.source import Source
from keras_sare.utils.choices import check_choice
from keras_sare.utils.files import atomic_path


@dataclass(frozen=True)
class Variant:
    """One way to make a file of a model.

    Attributes:
        name: of the variant and of its file.
        description: one line for people who choose among them.
        convert: (source, fixed) to the content of the file; (source, fixed, batches of photos) where `calibrated`.
        calibrated: whether it needs photos of the kind that the model is for.
    """

    name: str
    description: str
    convert: Callable[..., bytes]
    calibrated: bool = False


def _float32(source: Source, fixed: bool) -> bytes:
    return float32_bytes(source.model, source.size, fixed)


def _by(recipe: Recipe) -> Callable[[Source, bool], bytes]:
    return lambda source, fixed: quantised(_float32(source, fixed), recipe)


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("float32", "the model as it is", _float32),
        Variant("float16", "weights in float16: half the size", _by(FLOAT16)),
        Variant("dynamic_int8", "weights and products in int8: a quarter of the size, fastest", _by(DYNAMIC_INT8)),
        Variant("balanced", "large weights in int8, others in float16: a quarter of the size, nearly exact", balanced),
        Variant("small", "large weights in int4, rounded for photos: an eighth of the size", small, calibrated=True),
    )
}
"""Variants by name."""


def write_tflite(
    source: Source,
    path: Path,
    variant: str = "float32",
    fixed: bool = False,
    calibration: CalibrationPhotos | None = None,
) -> None:
    """Writes a TFLite file, whole or not at all.

    Args:
        source: what is exported.
        path: of the file; an existing one is replaced.
        variant: key of `VARIANTS`.
        fixed: whether the file takes single images of `source.size` and nothing else.
        calibration: photos for a variant that is calibrated; others take no notice of them.

    Raises:
        ValueError: an unknown variant, one that is to be calibrated without photos, `fixed` with a size that is a limit
            of the longer side, or a model with an operation that TFLite does not have.
        ImportError: the packages of the extra `export` are not installed.
        RuntimeError: the file would not run, or not hold the weights.
    """
    check_choice("variant", variant, VARIANTS)
    chosen = VARIANTS[variant]
    if chosen.calibrated and calibration is None:
        raise ValueError(f"`calibration` must be photos for the variant {variant}. Received: calibration=None")
    content = chosen.convert(source, fixed, *([calibration.batches()] if calibration and chosen.calibrated else []))
    check_operations(content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
