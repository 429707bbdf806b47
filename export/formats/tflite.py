"""TFLite files, for phones and small computers; `export.converters.tflite` writes them."""

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.formats.format import Artefact, Format, Loaded, Option, Request, import_package

if TYPE_CHECKING:
    from export.quantisation.calibration import CalibrationPhotos

logger = logging.getLogger("keras_sare.export")

OPTIONS = (
    Option("variants", None, "TFLite files, or all; by default float16, and with `all` formats all but small.", "list"),
    Option("fixed_size", False, "TFLite files take one image of --image_size only.", "switch"),
    Option(
        "calibration",
        None,
        "Folder of photos for the TFLite variant small; by default the training split of the dataset, where there is "
        "one.",
    ),
)


def _plan(request: Request, options: Mapping[str, Any]) -> Iterator[Artefact]:
    from export.converters.tflite import VARIANTS, write_tflite

    source = request.source
    fixed = options["fixed_size"]
    named = options["variants"] or ()
    variants = _variants(request, options)
    if fixed and isinstance(source.size, int):
        raise ValueError(
            "`fixed_size` must be off where images keep their aspect ratio, and so have no one size; or name a size, "
            f"as in --image_size=480,640. Received: fixed_size=True, image_size={source.size}"
        )
    # Opened where they are needed only: to look into them takes time, and a bad one among them is an error.
    needed = any(VARIANTS[name].calibrated for name in variants)
    calibration = _calibration(request, options["calibration"]) if needed else None
    for name in variants:
        if VARIANTS[name].calibrated and calibration is None:
            text = f"TFLite variant {name} needs photos to calibrate with: --calibration=FOLDER"
            if name in named:
                raise ValueError(f"{text}. Received: variants={','.join(named)} and no photos")
            logger.info("Without %s. %s", name, text)
            continue
        write = partial(write_tflite, source, variant=name, fixed=fixed, calibration=calibration)
        yield Artefact("tflite", f"tflite/{name}.tflite", write, partial(_extra, name, fixed))


def _variants(request: Request, options: Mapping[str, Any]) -> list[str]:
    """The variants that are meant, each once. Where none are named those that take minutes wait to be asked for."""
    from export.converters.tflite import VARIANTS

    named = options["variants"]
    if not named and not request.everything:
        return ["float16"]
    if unknown := [name for name in named or () if name not in {*VARIANTS, "all"}]:
        raise ValueError(f"`variants` must be some of {', '.join(VARIANTS)}, or all. Received: {', '.join(unknown)}")
    if named and "all" not in named:
        return list(dict.fromkeys(named))
    # Whoever names photos to calibrate with wants the variants that need them.
    if named or options["calibration"]:
        return list(VARIANTS)
    slow = [name for name, variant in VARIANTS.items() if variant.calibrated]
    logger.info("Without %s, which takes minutes to round: --variants=all writes it too", ", ".join(slow))
    return [name for name in VARIANTS if name not in slow]


def _calibration(request: Request, folder: str | None) -> "CalibrationPhotos | None":
    from export.quantisation.calibration import choose_calibration

    source = request.source
    dataset = request.root, request.prefix
    return choose_calibration(source.settings, source.size, folder, *dataset, source.orientation, source.antialias)


def _extra(variant: str, fixed_size: bool, _: Path) -> dict[str, Any]:
    return {"variant": variant, "fixed_size": fixed_size}


def _load(path: str, threads: int) -> Loaded:
    """Loads a file into LiteRT, with XNNPACK."""
    interpreter = import_package("ai_edge_litert.interpreter", "export").Interpreter(
        model_path=path, num_threads=threads
    )
    source = interpreter.get_input_details()[0]
    sink = interpreter.get_output_details()[0]["index"]
    planned: tuple[int, ...] = ()

    def extract(images: np.ndarray) -> np.ndarray:
        nonlocal planned
        if images.shape != planned:  # Planning its memory takes longer than running a small image.
            planned = ()
            interpreter.resize_tensor_input(source["index"], images.shape, strict=True)
            interpreter.allocate_tensors()
            planned = images.shape
        interpreter.set_tensor(source["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(sink)

    return extract, tuple(None if side < 0 else int(side) for side in source["shape_signature"]), None


FORMAT = Format(
    name="tflite",
    description="tflite/VARIANT.tflite, for phones and small computers",
    plan=_plan,
    load=_load,
    colour=0,
    options=OPTIONS,
    extra="export",
    modules=("ai_edge_litert", "ai_edge_quantizer"),
    packages=("ai-edge-litert", "ai-edge-quantizer"),
)
