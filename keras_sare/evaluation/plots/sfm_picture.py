"""Pictures of 3D models: some photos of each, and cameras and points seen from above."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from keras_sare.datasets.images.orientation import turn_picture
from keras_sare.datasets.sfm.sfm_colmap import ColmapModel
from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.evaluation.plots.pictures import open_picture, save_figure
from keras_sare.utils.files import atomic_path

# Okabe and Ito's palette, told apart by colour-blind readers too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_GREY = "#57606a"
_POINTS = "#8c959f"
_HEIGHT = 150
_GAP = 6
_CAPTION = 26


def draw_models(
    path: str | os.PathLike[str], dataset: SfMDataset, points: Mapping[int, int], rows: int = 24, columns: int = 9
) -> None:
    """Draws a contact sheet: a row for each 3D model with some of its photos, models of one cluster below each other.

    A coloured bar at the left joins the models of a cluster that has several.

    Args:
        path: PNG file to write; it appears whole or not at all.
        dataset: photos of 3D models, whose files can be read.
        points: number of 3D points by model, for the captions.
        rows: at most so many models, those with most photos.
        columns: at most so many photos of a model, evenly from all of them.
    """
    drawn = _order(dataset, rows)
    strips = [_strip(dataset, row.model, columns) for row in drawn]
    width = max(strip.width for strip in strips) + 3 * _GAP
    row_height = _HEIGHT + _CAPTION + _GAP
    sheet = Image.new("RGB", (max(width, 640), row_height * len(drawn) + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    joined = list(dict.fromkeys(row.cluster for row in drawn if row.models > 1))
    for number, (row, strip) in enumerate(zip(drawn, strips, strict=True)):
        top = _GAP + number * row_height
        caption = f"model {row.model}: {row.photos} photos, {points.get(row.model, 0)} points; cluster {row.cluster}"
        draw.text((2 * _GAP, top + 3), caption, fill="black", font=font)
        sheet.paste(strip, (2 * _GAP, top + _CAPTION))
        if row.models > 1:
            colour = _COLOURS[joined.index(row.cluster) % len(_COLOURS)]
            draw.rectangle((0, top, _GAP - 1, top + row_height), fill=colour)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def draw_from_above(
    path: str | os.PathLike[str], models: Sequence[ColmapModel], captions: Mapping[int, Any] | None = None
) -> None:
    """Draws points, camera centres and viewing directions of 3D models, seen from above.

    Above is where photos have their upper side on the mean. The unit of length is each model's own.

    Args:
        path: PNG file to write; it appears whole or not at all.
        models: at least one.
        captions: by number of the model; by default its numbers of photos and points.

    Raises:
        ValueError: there is no model.
    """
    if not models:
        raise ValueError("`models` must have at least one model. Received: none")
    columns = min(3, len(models))
    lines = -(-len(models) // columns)
    figure = Figure(figsize=(4.6 * columns, 4.6 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, model in zip(panels, models, strict=False):
        caption = f"model {model.number}: {len(model)} photos, {len(model.positions)} points"
        _draw_model(axes, model, str((captions or {}).get(model.number, caption)))
    for axes in panels[len(models) :]:
        axes.set_axis_off()
    save_figure(figure, path)


class _Row(NamedTuple):
    model: int
    photos: int
    cluster: int
    models: int
    """Of the cluster."""


def _order(dataset: SfMDataset, rows: int) -> list[_Row]:
    """The models with most photos, by cluster, that of the largest model first, and by size."""
    models, first, photos = np.unique(dataset.models, return_index=True, return_counts=True)
    clusters = dataset.clusters[first]
    _, index, members = np.unique(clusters, return_inverse=True, return_counts=True)
    largest = np.zeros(len(members), np.int64)
    np.maximum.at(largest, index, photos)
    order = np.lexsort((models, -photos, clusters, -largest[index]))
    chosen = np.isin(order, np.lexsort((models, -photos))[:rows])
    columns = np.stack([models, photos, clusters, members[index]], axis=1)
    return [_Row(*row) for row in columns[order[chosen]].tolist()]


def _strip(dataset: SfMDataset, model: int, columns: int) -> Image.Image:
    photos = np.flatnonzero(dataset.models == model)
    photos = photos[np.linspace(0, len(photos) - 1, min(columns, len(photos))).round().astype(int)]
    thumbnails = [_thumbnail(str(dataset.paths[photo])) for photo in photos.tolist()]
    strip = Image.new("RGB", (sum(one.width + _GAP for one in thumbnails), _HEIGHT), "white")
    left = 0
    for one in thumbnails:
        strip.paste(one, (left, 0))
        left += one.width + _GAP
    return strip


def _thumbnail(path: str) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.draft("RGB", (2 * _HEIGHT, 2 * _HEIGHT))
            upright = turn_picture(image).convert("RGB")
    except Exception:  # Whatever Pillow raises on a file that it refuses.
        upright = open_picture(path)
    return upright.resize((max(1, round(upright.width * _HEIGHT / upright.height)), _HEIGHT))


def _draw_model(axes: Axes, model: ColmapModel, caption: str) -> None:
    ground = _ground(model.rotations)
    points, cameras, forward = (v @ ground.T for v in (model.positions, model.centres, model.rotations[:, 2]))
    low, high = _frame(points, cameras)
    axes.scatter(points[:, 0], points[:, 1], s=1.2, c=_POINTS, linewidths=0, label="points", rasterized=True)
    reach = 0.06 * (high - low).max()
    heads = forward / np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), 1e-9) * reach
    axes.quiver(
        *cameras.T, *heads.T, angles="xy", scale_units="xy", scale=1, width=0.005, color=_COLOURS[1], label="cameras"
    )
    axes.scatter(cameras[:, 0], cameras[:, 1], s=14, c=_COLOURS[0], linewidths=0, zorder=3)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_aspect("equal", adjustable="box")
    axes.set_title(caption, fontsize=11, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#d0d7de")


def _ground(rotations: np.ndarray) -> np.ndarray:
    """Two axes of length 1 at right angles to the photos' mean vertical, [2, 3]."""
    down = rotations[:, 1].mean(axis=0)
    down = down / max(np.linalg.norm(down), 1e-9)
    across = np.cross(down, np.eye(3)[np.abs(down).argmin()])
    across = across / np.linalg.norm(across)
    # Right-handed as seen from above, so that the plan is not mirrored.
    return np.stack([across, np.cross(across, down)])


def _frame(points: np.ndarray, cameras: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner that show all cameras and, of the points, all but the farthest few."""
    near = np.percentile(points, [3, 97], axis=0) if len(points) else cameras
    corners = np.concatenate([near, cameras])
    margin = 0.06 * np.ptp(corners, axis=0).max() + 1e-9
    return corners.min(axis=0) - margin, corners.max(axis=0) + margin
