"""What `python -m export` writes for each format, and where."""

import importlib.util
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from export.quantisation.calibration import CalibrationPhotos
from export.source import Source
from keras_sare.datasets.images.image_header import MAX_PIXELS
from keras_sare.utils.version_folders import version_folders

logger = logging.getLogger("keras_sare.export")

FORMATS = ("keras", "saved_model", "tflite", "onnx")
"""Kinds of artefacts, in the order in which they are written."""

_MODULES = {"tflite": ("ai_edge_litert", "ai_edge_quantizer"), "onnx": ("tf2onnx", "onnx", "onnxruntime")}
_EXTRAS = {"tflite": "export", "onnx": "onnx"}
_OPTIONS = {
    "saved_model": ("version", "whitening_dtype", "scales", "warmup", "max_pixels"),
    "tflite": ("variants", "calibration", "fixed_size"),
}


@dataclass(frozen=True)
class Options:
    """What the formats let one choose.

    Attributes:
        version: number of the SavedModel; None for the next free one.
        whitening_dtype: that the SavedModel stores the whitening in.
        scales: of the SavedModel's signature `multiscale`; None for no such signature.
        warmup: whether the SavedModel holds requests that warm up a server.
        max_pixels: the most pixels (height times width) of a file that the SavedModel decodes.
        variants: TFLite files to write, keys of `export.formats.tflite.VARIANTS`; "all" stands for all of them.
        fixed_size: whether TFLite files take images of the source's size only.
        calibration: opens photos, where a variant needs some; it gives None where there are none.
    """

    version: int | None = None
    whitening_dtype: str = "float32"
    scales: tuple[float, ...] | None = None
    warmup: bool = True
    max_pixels: int = MAX_PIXELS
    variants: tuple[str, ...] = ("float16",)
    fixed_size: bool = False
    calibration: Callable[[], CalibrationPhotos | None] = lambda: None


@dataclass(frozen=True)
class Artefact:
    """One file or folder to be written.

    Attributes:
        kind: one of `FORMATS`.
        name: path below the output folder, for example "tflite/float16.tflite".
        write: writes it at a path.
        extra: what only this kind's manifest has, of the artefact at a path.
    """

    kind: str
    name: str
    write: Callable[[Path], None]
    extra: Callable[[Path], Mapping[str, Any]] = lambda _: {}


def chosen_formats(names: Sequence[str]) -> list[str]:
    """Says which formats are meant, and checks that their packages are installed.

    Args:
        names: some of `FORMATS`; or "all": each of them, ONNX only where its packages are installed.

    Returns:
        Some of `FORMATS`, in their order.

    Raises:
        ValueError: there is no name, or an unknown one.
        ImportError: packages of a format are not installed.
    """
    if not names or not {*names} <= {*FORMATS, "all"}:
        raise ValueError(f"FORMATS must be some of {', '.join(FORMATS)}, or all. Received: {' '.join(names) or 'none'}")
    formats = [kind for kind in FORMATS if kind in names or "all" in names]
    for kind in formats.copy():
        missing = [module for module in _MODULES.get(kind, ()) if importlib.util.find_spec(module) is None]
        if missing:
            text = f'{kind} needs {", ".join(missing)}: pip install "keras-sare[{_EXTRAS[kind]}]"'
            if kind != "onnx" or "onnx" in names:
                raise ImportError(text)
            logger.info("Without onnx: %s", text)
            formats.remove(kind)
    return formats


def default_variants(names: Sequence[str], calibration: str | None = None) -> tuple[str, ...]:
    """TFLite variants where none are named: with "all" those that take seconds, not the calibrated ones.

    Args:
        names: of the formats, as of `chosen_formats`.
        calibration: folder of photos that the user named; whoever does wants the calibrated ones too.
    """
    if "all" not in names:
        return ("float16",)
    from export.formats.tflite import VARIANTS

    if calibration is not None:
        return tuple(VARIANTS)
    slow = [name for name, variant in VARIANTS.items() if variant.calibrated]
    logger.info("Without %s, which takes minutes to round: --variants=all writes it too", ", ".join(slow))
    return tuple(name for name in VARIANTS if name not in slow)


def check_options(formats: Sequence[str], given: Collection[str]) -> None:
    """Checks that no option was given in vain.

    Args:
        formats: that are written.
        given: names of the options that the user gave a value.

    Raises:
        ValueError: an option belongs to a format that is not written.
    """
    for kind, options in _OPTIONS.items():
        unused = [f"`{name}`" for name in options if name in given]
        if unused and kind not in formats:
            raise ValueError(
                f"{', '.join(unused)} must only be given with the format {kind}: add {kind}, or leave it out. "
                f"Received: FORMATS={' '.join(formats)}"
            )


def plan(formats: Sequence[str], source: Source, output: Path, options: Options) -> list[Artefact]:
    """Says what is to be written. Nothing is written yet.

    Args:
        formats: some of `FORMATS`.
        source: what is exported.
        output: the folder.
        options: of the formats.

    Raises:
        ValueError: an option is unknown, or does not go with the source; or photos to calibrate with cannot be read.
        FileNotFoundError: there is no such folder of photos to calibrate with.
        FileExistsError: the version exists.
    """
    planners = {"keras": _keras, "saved_model": _saved_model, "tflite": _tflite, "onnx": _onnx}
    return [artefact for kind in formats for artefact in planners[kind](source, output, options)]


def _keras(source: Source, _: Path, __: Options) -> Iterator[Artefact]:
    from export.formats.keras_file import write_keras

    yield Artefact("keras", "keras/model.keras", partial(write_keras, source))


def _saved_model(source: Source, output: Path, options: Options) -> Iterator[Artefact]:
    from export.formats.saved_model import SavedModelOptions, write_saved_model

    version = _free_version(output / "saved_model", options.version)
    chosen = SavedModelOptions(options.whitening_dtype, options.scales, options.warmup, version, options.max_pixels)

    def write(path: Path) -> None:
        write_saved_model(source, path, chosen)

    def extra(path: Path) -> dict[str, Any]:
        return {**asdict(chosen), "signatures": _signatures(path)}

    yield Artefact("saved_model", f"saved_model/{version}", write, extra)


def _tflite(source: Source, _: Path, options: Options) -> Iterator[Artefact]:
    from export.formats.tflite import VARIANTS, write_tflite

    variants = tuple(VARIANTS) if "all" in options.variants else options.variants
    if unknown := [name for name in variants if name not in VARIANTS]:
        raise ValueError(f"`variants` must be some of {', '.join(VARIANTS)}, or all. Received: {', '.join(unknown)}")
    if options.fixed_size and isinstance(source.size, int):
        raise ValueError(
            "`fixed_size` must be off where images keep their aspect ratio, and so have no one size; or name a size, "
            f"as in --image_size=480,640. Received: fixed_size=True, image_size={source.size}"
        )
    # Opened where they are needed only: to look into them takes time, and a bad one among them is an error.
    calibration = options.calibration() if any(VARIANTS[name].calibrated for name in variants) else None
    for name in dict.fromkeys(variants):
        if VARIANTS[name].calibrated and calibration is None:
            text = f"TFLite variant {name} needs photos to calibrate with: --calibration=FOLDER"
            if name in options.variants:
                raise ValueError(f"{text}. Received: variants={','.join(options.variants)} and no photos")
            logger.info("Without %s. %s", name, text)
            continue
        write = partial(write_tflite, source, variant=name, fixed=options.fixed_size, calibration=calibration)
        extra = partial(_variant, name, options)
        yield Artefact("tflite", f"tflite/{name}.tflite", write, extra)


def _variant(name: str, options: Options, _: Path) -> dict[str, Any]:
    return {"variant": name, "fixed_size": options.fixed_size}


def _onnx(source: Source, _: Path, __: Options) -> Iterator[Artefact]:
    from export.formats.onnx_model import write_onnx

    yield Artefact("onnx", "onnx/model.onnx", partial(write_onnx, source))


def _free_version(folder: Path, version: int | None) -> int:
    """The version to write: one that does not exist, as a server may be using those that do."""
    taken = version_folders(folder)
    free = 1 + max(taken, default=0)
    if version in taken:
        raise FileExistsError(
            f"`version` must be new: {str(folder / str(version))!r} exists, and a server may be using it. Export "
            f"version {free} instead. Received: version={version}"
        )
    return free if version is None else version


def _signatures(folder: Path) -> dict[str, Any]:
    """Reads the signatures of a SavedModel: inputs and outputs by name, each a type and a shape with -1 for any."""
    from tensorflow.core.framework import types_pb2
    from tensorflow.core.protobuf import saved_model_pb2

    def described(tensors: Mapping[str, Any]) -> dict[str, str]:
        return {
            name: f"{types_pb2.DataType.Name(tensor.dtype)[3:].lower()} {[dim.size for dim in tensor.tensor_shape.dim]}"
            for name, tensor in sorted(tensors.items())
        }

    stored = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    signatures = stored.meta_graphs[0].signature_def
    return {
        name: {"inputs": described(signature.inputs), "outputs": described(signature.outputs)}
        for name, signature in sorted(signatures.items())
        if not name.startswith("__")
    }
