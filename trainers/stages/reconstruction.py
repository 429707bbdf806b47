"""Stages of `trainers.sfm`: 3D models, dataset, table and pictures."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from keras_sare.datasets.sfm.sfm_colmap import read_model
from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.datasets.sfm.sfm_files import read_colmap
from keras_sare.evaluation.plots.sfm_picture import draw_from_above, draw_models
from keras_sare.evaluation.sfm_labels import label_agreement, read_image_labels
from keras_sare.reconstruction.reconstruct import Reconstruction, reconstruct
from keras_sare.reconstruction.reconstruction_settings import ReconstructionSettings
from keras_sare.utils.files import atomic_path, check_writable_folder

logger = logging.getLogger("keras_sare.sfm")

FROM_ABOVE = 6
"""Models that are drawn from above, those with most photos."""


def reconstruct_photos(
    images: Path,
    output: Path,
    settings: ReconstructionSettings,
    labels: Path | None = None,
    max_corrupt_share: float = 0.01,
) -> str:
    """Photos to 3D models, dataset, table and pictures.

    Args:
        images: folder of the photos.
        output: folder of the run.
        settings: of the reconstruction.
        labels: CSV file of what the photos show, to measure purity by.
        max_corrupt_share: share of unreadable photos at which the run stops.

    Returns:
        The table, Markdown.
    """
    check_writable_folder(output)
    images = images.absolute()
    shown = read_image_labels(labels) if labels else None
    made = reconstruct(images, output, settings, max_corrupt_share)
    dataset = read_colmap(made.folder, images, made.database)
    dataset.save(output / "sfm.npz")
    names = _names(dataset, images)
    rows = _table_rows(made, dataset)
    summary = _summary(made, dataset) | {"orientation": settings.orientation}
    if shown is not None:
        summary |= asdict(label_agreement(dataset, names, shown))
    table = _format(rows, summary)
    _write(output / "models.json", json.dumps({"summary": summary, "models": rows}, indent=2))
    _write(output / "models.md", table)
    _write_names(output / "unregistered.txt", made.unregistered)
    held = {*made.unregistered, *names.tolist()}
    _write_names(output / "left_out.txt", [name for name in made.images if name not in held])
    draw(output, made, dataset)
    return table


def _names(dataset: SfMDataset, images: Path) -> np.ndarray:
    start = len(str(images)) + 1
    return np.array([path[start:] for path in dataset.paths.tolist()], np.dtypes.StringDType())


def _table_rows(made: Reconstruction, dataset: SfMDataset) -> list[dict[str, Any]]:
    """The models with their clusters; none for those left out because they overlap a larger one."""
    cluster_of = dict(zip(dataset.models.tolist(), dataset.clusters.tolist(), strict=True))
    return [{**row, "cluster": cluster_of.get(row["model"])} for row in made.models]


def _summary(made: Reconstruction, dataset: SfMDataset) -> dict[str, Any]:
    registered = len(made.images) - len(made.unregistered)
    return {
        "photos": len(made.images),
        "unreadable": len(made.corrupt),
        "in_no_model": len(made.unregistered),
        "in_models_left_out": registered - len(dataset),
        "in_dataset": len(dataset),
        "models": len(np.unique(dataset.models)),
        "clusters": len(np.unique(dataset.clusters)),
    }


def _format(rows: Iterable[Mapping[str, Any]], summary: Mapping[str, Any]) -> str:
    lines = ["| model | images | points | mean track length | reprojection error, px | cluster |", "|" + "---|" * 6]
    for row in sorted(rows, key=lambda row: (-row["images"], row["model"])):
        cluster = "left out: overlaps" if row["cluster"] is None else row["cluster"]
        lines.append(
            f"| {row['model']} | {row['images']} | {row['points']} | {row['mean_track_length']:.2f} | "
            f"{row['reprojection_error']:.3f} | {cluster} |"
        )
    return "\n".join([*lines, "", "| measure | value |", "|---|---|", *(_line(*item) for item in summary.items())])


def _line(name: str, value: float) -> str:
    return (
        f"| {name.replace('_', ' ')} | {value:.3f} |"
        if isinstance(value, float)
        else f"| {name.replace('_', ' ')} | {value} |"
    )


def draw(output: Path, made: Reconstruction, dataset: SfMDataset) -> None:
    """Writes the pictures of the models."""
    kept = set(dataset.models.tolist())
    largest = sorted((row for row in made.models if row["model"] in kept), key=lambda row: -row["images"])[:FROM_ABOVE]
    draw_models(output / "models.png", dataset, {row["model"]: row["points"] for row in made.models})
    draw_from_above(output / "above.png", _read(made.folder, [row["model"] for row in largest]))


def _read(folder: Path, numbers: Sequence[int]) -> list[Any]:
    return [read_model(folder / str(number), number) for number in numbers]


def _write_names(path: Path, names: Iterable[str]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in names), "utf-8")


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", "utf-8")
