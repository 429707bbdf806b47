"""Reconstructs 3D models of a photo collection: what `trainers.retrieval_sfm` takes its training tuples from.

    python -m trainers.sfm --images=FOLDER --output=runs/sfm

Needs pycolmap: pip install "keras-sare[sfm]". 130 photos of 750x1000 take 3 minutes on two processor cores. A killed
run goes on with the same command, and so does one with photos added: features and matches are kept, a mapping starts
over. Written to --output: `sfm.npz` (the dataset), `models.md` and `models.json` (the models in figures), `models.png`
(some photos of each), `above.png` (the largest seen from above), `unregistered.txt` (photos of no model),
`left_out.txt` (photos only of models that are left out because they overlap a larger one), and COLMAP's database and
models.
"""

import json
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from keras_sare.datasets.images.orientation import ORIENTATIONS
from keras_sare.datasets.sfm.sfm_colmap import read_model
from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.datasets.sfm.sfm_files import read_colmap
from keras_sare.evaluation.plots.sfm_picture import draw_from_above, draw_models
from keras_sare.evaluation.sfm_labels import label_agreement, read_image_labels
from keras_sare.reconstruction.reconstruct import Reconstruction, ReconstructionSettings, reconstruct
from keras_sare.utils.error_text import expected_errors
from keras_sare.utils.files import atomic_path, check_writable_folder
from keras_sare.utils.progress import show_information

logger = logging.getLogger("keras_sare.sfm")

FROM_ABOVE = 6
"""Models that are drawn from above, those with most photos."""

DEFAULTS = ReconstructionSettings()


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
    images, shown = images.absolute(), read_image_labels(labels) if labels else None
    made = reconstruct(images, output, settings, max_corrupt_share)
    dataset = read_colmap(made.folder, images, made.database)
    dataset.save(output / "sfm.npz")
    names = _names(dataset, images)
    rows, summary = _table_rows(made, dataset), _summary(made, dataset) | {"orientation": settings.orientation}
    if shown is not None:
        summary |= asdict(label_agreement(dataset, names, shown))
    table = _format(rows, summary)
    _write(output / "models.json", json.dumps({"summary": summary, "models": rows}, indent=2))
    _write(output / "models.md", table)
    _write_names(output / "unregistered.txt", made.unregistered)
    held = {*made.unregistered, *names.tolist()}
    _write_names(output / "left_out.txt", [name for name in made.images if name not in held])
    _draw(output, made, dataset)
    return table


def main(_: list[str]) -> None:
    """Runs the reconstruction, and tells how to go on where it is interrupted."""
    show_information()
    chosen = flags.FLAGS
    settings = ReconstructionSettings(**{field.name: chosen[field.name].value for field in fields(DEFAULTS)})
    labels = Path(chosen.labels) if chosen.labels else None
    try:
        print(reconstruct_photos(Path(chosen.images), Path(chosen.output), settings, labels, chosen.max_corrupt_share))
    except KeyboardInterrupt:
        sys.exit("Interrupted. The same command goes on: features and matches are kept, a mapping starts over.")
    logger.info("Dataset, table and pictures: %s", chosen.output)


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


def _draw(output: Path, made: Reconstruction, dataset: SfMDataset) -> None:
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


if __name__ == "__main__":
    flags.DEFINE_string("images", None, "Folder of JPEG and PNG files; it may have folders.", required=True)
    flags.DEFINE_string("output", None, "Folder of the run; an earlier run's is gone on with.", required=True)
    flags.DEFINE_string("labels", None, "CSV with image, label (or building) [, share], to measure purity by.")
    flags.DEFINE_integer("max_image_size", DEFAULTS.max_image_size, "Longer side at which features are computed.")
    flags.DEFINE_integer("max_features", DEFAULTS.max_features, "Features of a photo.")
    flags.DEFINE_integer(
        "exhaustive_images", DEFAULTS.exhaustive_images, "Up to so many photos, all pairs are matched."
    )
    flags.DEFINE_integer("neighbours", DEFAULTS.neighbours, "Beyond, each photo is matched with so many similar ones.")
    flags.DEFINE_integer("min_model_size", DEFAULTS.min_model_size, "Smallest model that is kept.")
    flags.DEFINE_integer(
        "mapping_threads", DEFAULTS.mapping_threads, "1: repeatable; -1: all, for thousands of photos."
    )
    flags.DEFINE_float("max_corrupt_share", 0.01, "Share of unreadable photos at which the run stops.")
    flags.DEFINE_enum("orientation", DEFAULTS.orientation, ORIENTATIONS, "Photos as viewers show them, or as stored.")
    flags.DEFINE_integer("seed", DEFAULTS.seed, "Of everything random.")
    app.run(expected_errors("trainers.sfm")(main))
