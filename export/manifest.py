"""The manifest of an artefact: a JSON file beside it that says what it is and where it came from.

An artefact whose manifest is missing was not finished. The artefact appears first and the manifest last, and where an
artefact is replaced its manifest goes first: so no manifest ever stands beside a file that it does not describe,
however an export ends. The digest in it tells later changes.
"""

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import keras_sare
from export.formats import FORMATS
from export.source import Size, Source
from keras_sare.datasets import ShorterSide
from keras_sare.evaluation.json_report import JsonReport
from keras_sare.layers import ImagePreprocessing
from keras_sare.utils.digests import files_of, path_digest
from keras_sare.utils.files import atomic_path

PACKAGES = ("tensorflow", "keras", "numpy")
"""Whose versions every manifest records; a format's own come after them."""

_RECALLS = (1, 5, 10, 20)


def manifest_path(artefact: Path) -> Path:
    """Where the manifest of an artefact lies: `small.json` beside `small.tflite`, `3.json` beside the folder `3`."""
    return artefact.with_suffix(".json")


def bytes_of(artefact: Path) -> int:
    """Size on disk; of a folder that of all its files."""
    return sum(file.stat().st_size for file in files_of(artefact))


def manifest(
    source: Source, kind: str, path: Path, name: str, fidelity: JsonReport, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Lists what is known of an artefact.

    Args:
        source: what was exported.
        kind: name of its format, one of `export.formats.FORMATS`.
        path: where the artefact lies now.
        name: that it is going to have.
        fidelity: how near it comes to the Keras model.
        extra: what only this kind has, such as the variant of a TFLite file.

    Returns:
        What JSON can hold, always in the same order.
    """
    return {
        "kind": kind,
        "name": name,
        "bytes": bytes_of(path),
        "sha256": path_digest(path),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "name": source.name,
            "origin": source.origin,
            "dim": source.dim,
            "parameters": source.model.count_params(),
            "weights_sha256": source.weights_digest,
        },
        "preprocessing": _preprocessing(source),
        **extra,
        "evaluation": _evaluation(source.evaluation),
        "fidelity": json.loads(fidelity.to_json()),
        "versions": _versions(kind),
    }


def write_manifest(artefact: Path, contents: Mapping[str, Any]) -> None:
    """Writes the manifest of an artefact that has appeared."""
    with atomic_path(manifest_path(artefact)) as path:
        path.write_text(json.dumps(contents, indent=2) + "\n")


def is_of(contents: Mapping[str, Any], source: Source) -> bool:
    """Whether a manifest is of an artefact of this model, for images of this size."""
    same_weights = contents["model"]["weights_sha256"] == source.weights_digest
    return same_weights and contents["preprocessing"] == _preprocessing(source)


def _preprocessing(source: Source) -> dict[str, Any]:
    """What is done to an image outside the model and inside."""
    layer = next((layer for layer in source.model.layers if isinstance(layer, ImagePreprocessing)), None)
    inside = None
    if layer is not None:
        inside = {"channels": "BGR" if layer.bgr else "RGB", "mean": list(layer.mean), "std": list(layer.std)}
    outside = {"orientation": source.orientation, "resize": _resize(source.size, source.antialias)}
    return {"input": "RGB, 0 to 255, float32", **outside, "inside": inside}


def _resize(size: Size, antialias: bool) -> dict[str, Any]:
    chosen = "bilinear, antialiased" if antialias else "bilinear, not antialiased"
    if isinstance(size, ShorterSide):
        return {"shorter_side": int(size), "filter": chosen, "antialias": antialias}
    if isinstance(size, int):
        chosen = "lanczos, antialiased, rounded" if antialias else chosen
        return {"longer_side": size, "filter": f"{chosen}, never enlarged", "antialias": antialias}
    return {"height": size[0], "width": size[1], "filter": chosen, "antialias": antialias}


def _evaluation(evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    """The numbers that a reader looks for; all others are in the run's folder."""
    if not evaluation:
        return None
    return {name: _recall(one) if "recalls" in one else _precision(one) for name, one in evaluation.items()}


def _recall(report: Mapping[str, Any]) -> dict[str, Any]:
    data = {name: report[name] for name in ("protocol", "dataset", "queries", "database")}
    measured = dict(zip(report["ns"], report["recalls"], strict=True))
    return data | {f"recall@{n}": measured[n] for n in _RECALLS if n in measured}


def _precision(table: Mapping[str, Any]) -> dict[str, Any]:
    reports = {
        name: {protocol: report["mean_average_precision"] for protocol, report in protocols.items()}
        for name, protocols in table["reports"].items()
    }
    return {"settings": table["settings"], "mean_average_precision": reports}


def _versions(kind: str) -> dict[str, str]:
    packages = {name: metadata.version(name) for name in (*PACKAGES, *FORMATS[kind].packages)}
    return {"keras_sare": keras_sare.__version__, "python": platform.python_version(), **packages}
