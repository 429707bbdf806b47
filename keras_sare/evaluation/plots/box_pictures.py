"""A picture of localised objects: queries with their boxes, and the boxes that were found in other photos."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from PIL import Image

from keras_sare.evaluation.plots.pictures import BOX, NEUTRAL, RIGHT, WRONG, Picture, open_picture, save_photo_figure

Box = tuple[float, float, float, float]

_COLUMN_INCHES = 2.2
_CAPTION_INCHES = 0.3
_BORDER_SHARE = 0.02


@dataclasses.dataclass(frozen=True)
class BoxedPicture:
    """A photo with the box of an object.

    Attributes:
        image: uint8 `[H, W, 3]` RGB, or the path of an image file.
        box: x1, y1, x2, y2 in pixels of the image as it was read, upright or as stored; None for none.
        score: of the box; None for a query.
        correct: whether it shows the query's object; None where that is not known or does not count.
        caption: text under a picture without score.
    """

    image: Picture
    box: Box | None
    score: float | None = None
    correct: bool | None = None
    caption: str = ""


def box_in_pixels(box: np.ndarray, map_size: tuple[int, int], image_size: tuple[int, int]) -> Box:
    """Where a box of a feature map lies in the photo.

    Every position of the map gets an equal part of the photo: 16 pixels in the last convolutions of VGG16, and a little
    more where the photo's size is no multiple of 16.

    Args:
        box: y1, x1, y2, x2 in positions of the map, the last two beyond the box, as `BoxSearch` finds it.
        map_size: height and width of the map.
        image_size: height and width of the photo, in pixels: of the file as it is read, if the box is to be drawn on
            that; see `keras_sare.datasets.images.image_sizes`.

    Returns:
        x1, y1, x2, y2 in pixels.
    """
    down = image_size[0] / map_size[0]
    across = image_size[1] / map_size[1]
    y1, x1, y2, x2 = (float(side) for side in box)
    return x1 * across, y1 * down, x2 * across, y2 * down


def box_gallery(
    path: str | os.PathLike[str],
    rows: Sequence[Sequence[BoxedPicture]],
    titles: Sequence[str] | None = None,
    longest_side: int = 480,
    orientation: str = "upright",
) -> None:
    """Draws queries with their boxes beside the boxes that were found; a green frame is right, a red one wrong.

    Args:
        path: PNG file to write, of 2 MB at most; it appears whole or not at all.
        rows: one for each query: the query, then what was found, best first. Rows may be shorter than others.
        titles: headings of the columns; by default "query", "1", "2", ...
        longest_side: pixels to which larger pictures are reduced.
        orientation: "upright" or "stored": how images were read, in whose pixels the boxes are.

    Raises:
        FileNotFoundError: a picture's file does not exist.
        ValueError: there is nothing to draw, or an array is no RGB picture.
    """
    if not rows or not all(rows):
        raise ValueError("`rows` must hold at least one row, and each a query. Received: none, or an empty row")
    columns = max(len(row) for row in rows)
    cells = [[_load(cell, longest_side, orientation) for cell in row] for row in rows]
    shapes = [min(1.35, max(image.height / image.width for image, _ in line)) for line in cells]
    heights = [_COLUMN_INCHES * shape + _CAPTION_INCHES for shape in shapes]
    figure = Figure(figsize=(columns * _COLUMN_INCHES + 0.6, sum(heights) + 0.4))
    figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05))
    grid = figure.subplots(len(rows), columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    for row, line, axes in zip(rows, cells, grid, strict=True):
        for one in axes[len(row) :]:
            one.set_visible(False)
        for cell, (image, scale), one in zip(row, line, axes, strict=False):
            _show(one, cell, image, scale)
    for title, one in zip(titles or ("query", *map(str, range(1, columns))), grid[0], strict=False):
        one.set_title(title, fontsize=12, fontweight="bold", pad=6)
    save_photo_figure(figure, path)


def _show(axes: Axes, cell: BoxedPicture, image: Image.Image, scale: float) -> None:
    # The sign carries the verdict for readers who do not see red and green apart.
    signs = {True: ("\N{CHECK MARK} ", RIGHT), False: ("\N{BALLOT X} ", WRONG), None: ("", NEUTRAL)}
    sign, colour = signs[cell.correct]
    # Pixels end at whole numbers, as the boxes' do; by default their middles lie there.
    axes.imshow(np.asarray(image), extent=(0, image.width, image.height, 0))
    axes.set_anchor("N")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color=colour, linewidth=1.0 if cell.correct is None else 4.0)
    caption = cell.caption if cell.score is None else f"{sign}{cell.score:.2f} {cell.caption}".rstrip()
    axes.set_xlabel(caption, color=colour, fontsize=10, labelpad=4, parse_math=False)
    if cell.box is not None:
        x1, y1, x2, y2 = _inside(np.array(cell.box) * scale, image)
        for width, edge in ((4.0, "black"), (2.0, BOX)):
            axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=edge, linewidth=width))


def _inside(box: np.ndarray, image: Image.Image) -> np.ndarray:
    """The box, drawn a little inside of the photo where it ends at its border: the frame would hide it."""
    margin = _BORDER_SHARE * max(image.size)
    return np.clip(box, margin, np.tile(image.size, 2) - margin)


def _load(cell: BoxedPicture, longest_side: int, orientation: str) -> tuple[Image.Image, float]:
    """The picture, reduced, and by how much."""
    image = open_picture(cell.image, orientation)
    width = image.width
    image.thumbnail((longest_side, longest_side))
    return image, image.width / width
