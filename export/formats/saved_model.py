"""SavedModels, for TensorFlow Serving and `python -m serving`; `export.converters.saved_model` writes them."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from export.formats.format import Artefact, Format, Loaded, Option, Request, import_tensorflow

OPTIONS = (
    Option("version", None, "Number of the SavedModel's version; by default the next free one.", "number", least=0),
    Option(
        "whitening_dtype",
        "float32",
        "Type of number that the SavedModel stores the whitening in.",
        choices=("float32", "float16", "bfloat16"),
    ),
    Option("scales", None, "Adds a signature `multiscale` to the SavedModel.", choices=("single", "multi", "whitened")),
    Option("warmup", True, "Puts requests into the SavedModel that warm up a server.", "switch"),
    Option(
        "max_pixels",
        None,
        "Most pixels, height times width, of a file that the SavedModel decodes; by default 128 million.",
        "number",
        least=1,
    ),
)


def _plan(request: Request, options: Mapping[str, Any]) -> Iterator[Artefact]:
    from export.converters.saved_model import SavedModelOptions, write_saved_model
    from keras_sare.datasets.images.pixel_limit import MAX_PIXELS
    from keras_sare.models import SCALES

    version = _free_version(request.output / "saved_model", options["version"])
    scales = SCALES[options["scales"]] if options["scales"] else None
    most = options["max_pixels"] or MAX_PIXELS
    chosen = SavedModelOptions(options["whitening_dtype"], scales, options["warmup"], version, most)

    def write(path: Path) -> None:
        write_saved_model(request.source, path, chosen)

    def extra(path: Path) -> dict[str, Any]:
        return {**asdict(chosen), "signatures": _signatures(path)}

    yield Artefact("saved_model", f"saved_model/{version}", write, extra)


def _free_version(folder: Path, version: int | None) -> int:
    """The version to write: one that does not exist, as a server may be using those that do."""
    from keras_sare.utils.version_folders import MAX_VERSION, version_folders

    taken = version_folders(folder)
    free = 1 + max(taken, default=0)
    if version in taken:
        raise FileExistsError(
            f"`version` must be new: {str(folder / str(version))!r} exists, and a server may be using it. Export "
            f"version {free} instead. Received: version={version}"
        )
    chosen = free if version is None else version
    if chosen > MAX_VERSION:
        raise ValueError(
            f"`version` must be at most {MAX_VERSION}, which is what a request can ask for; export a lower one. "
            f"Received: version={chosen}"
        )
    return chosen


def _signatures(folder: Path) -> dict[str, Any]:
    """Reads the signatures of a SavedModel: inputs and outputs by name, each a type and a shape with -1 for any."""
    from tensorflow.core.framework import types_pb2
    from tensorflow.core.protobuf import saved_model_pb2

    def listed(tensors: Mapping[str, Any]) -> dict[str, str]:
        return {
            name: f"{types_pb2.DataType.Name(tensor.dtype)[3:].lower()} {[dim.size for dim in tensor.tensor_shape.dim]}"
            for name, tensor in sorted(tensors.items())
        }

    stored = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    signatures = stored.meta_graphs[0].signature_def
    return {
        name: {"inputs": listed(signature.inputs), "outputs": listed(signature.outputs)}
        for name, signature in sorted(signatures.items())
        if not name.startswith("__")
    }


def _load(path: str, threads: int) -> Loaded:
    """Takes the signature `images`, and `serving_default` for files."""
    tensorflow = import_tensorflow(threads)
    model = tensorflow.saved_model.load(path)
    if "images" not in model.signatures:
        received = sorted(model.signatures)
        raise ValueError(f"a SavedModel must have the signature 'images'. Received: signatures={received}")
    [source] = model.signatures["images"].structured_input_signature[1].values()

    def extract(images: np.ndarray) -> np.ndarray:  # Holds the model: its signatures do not hold its variables.
        return model.signatures["images"](images=tensorflow.constant(images))["embedding"].numpy()

    def extract_files(files: list[bytes]) -> np.ndarray:
        signature = model.signatures["serving_default"]
        return signature(image_bytes=tensorflow.constant(files, tensorflow.string))["embedding"].numpy()

    return extract, tuple(source.shape), extract_files


FORMAT = Format(
    name="saved_model",
    description="saved_model/VERSION/, for TensorFlow Serving and `python -m serving`",
    plan=_plan,
    load=_load,
    photos="files",
    colour=1,
    options=OPTIONS,
)
