"""Two folders of photos without any labels: which of one look like those of the other, as a page, picture or table."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_sare.evaluation.html.frame import page
from keras_sare.evaluation.html.parts import section
from keras_sare.evaluation.html.tables import escaped
from keras_sare.evaluation.html.thumbnails import Thumbnails
from keras_sare.retrieval import nearest
from keras_sare.utils.choices import check_choice
from keras_sare.utils.files import atomic_path, check_writable_file
from keras_sare.utils.text import printable
from serving.descriptors.descriptor_model import DescriptorModel
from serving.descriptors.resumable import DescriptorFiles
from serving.locate.readable import readable_photos

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".html", ".png", ".csv")
"""Of files that matches can be written to."""

_PAGE_BYTES = 6_000_000
_PAGE_QUERIES = 100
_PICTURE_QUERIES = 10


@dataclass(frozen=True, eq=False)
class Matches:
    """The most similar photos of a database for each of Q photos.

    Attributes:
        queries: [Q] files.
        found: [Q, k] files, the most similar first.
        scores: float64 [Q, k] cosine similarities.
    """

    queries: np.ndarray
    found: np.ndarray
    scores: np.ndarray


def check_matches(output: Path) -> None:
    """Checks before the work that matches can be written.

    Raises:
        ValueError: it is no file that matches are written to.
        OSError: it cannot be written.
    """
    check_choice("output", output.suffix, SUFFIXES)
    check_writable_file(output)


def match_folders(model: DescriptorModel, sides: tuple[str, str], k: int, batch: int, folder: Path) -> Matches:
    """Finds the most similar photos. Those that cannot be read are logged and left out.

    Args:
        model: that has descriptors of both.
        sides: folder of the database, and of the queries.
        k: matches of each query.
        batch: photos whose descriptors are extracted at a time.
        folder: for descriptors; of a run that was killed those that are there are not extracted again.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a folder has no photo that can be read, or `k` is not positive.
    """
    if k < 1:
        raise ValueError(f"`k` must be positive. Received: k={k}")
    files = DescriptorFiles(folder)
    database, queries = (
        readable_photos([side], side, role, folder / role)
        for side, role in zip(sides, ("database", "queries"), strict=True)
    )
    rows = files.of(model, database, batch)
    squared, indices = nearest(files.of(model, queries, batch), rows, min(k, len(database)))
    return Matches(queries, database[indices], 1 - np.asarray(squared, np.float64) / 2)


def write_matches(output: Path, matches: Matches, orientation: str = "upright") -> None:
    """Writes matches; the file appears whole or not at all.

    Args:
        output: a file with one of `SUFFIXES`. A table has all queries, a page the first 100, a picture the first 10.
        matches: of all queries.
        orientation: how photos are shown, "upright" or "stored".
    """
    if output.suffix == ".csv":
        _write_table(output, matches)
    elif output.suffix == ".html":
        _write_page(output, matches, orientation)
    else:
        _draw(output, matches, orientation)


def _write_table(output: Path, matches: Matches) -> None:
    with atomic_path(output) as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["query", "rank", "match", "score"])
        for query, found, scores in zip(matches.queries.tolist(), matches.found, matches.scores, strict=True):
            writer.writerows([query, rank + 1, match, scores[rank]] for rank, match in enumerate(found.tolist()))


def _write_page(output: Path, matches: Matches, orientation: str) -> None:
    thumbnails = Thumbnails(_PAGE_BYTES, orientation)
    count = len(matches.queries)
    shown = min(count, _PAGE_QUERIES)
    cards = [_card(matches, query, thumbnails) for query in range(shown)]
    first = "" if shown == count else f"<p>The first {shown} of {count} queries; a .csv file has all.</p>"
    content = section("Queries and their most similar photos", first, f'<ol class="cards">{"".join(cards)}</ol>')
    with atomic_path(output) as path:
        path.write_text(page("Matches of two folders", [content], []), encoding="utf-8")


def _card(matches: Matches, query: int, thumbnails: Thumbnails) -> str:
    photo = str(matches.queries[query])
    ranked = zip(matches.found[query].tolist(), matches.scores[query].tolist(), strict=True)
    figures = [_figure(thumbnails, "query", photo)]
    figures += [_figure(thumbnails, f"{score:.3f}", match) for match, score in ranked]
    return f'<li><h3>{query + 1}: {escaped(os.path.basename(photo))}</h3><div class="row">{"".join(figures)}</div></li>'


def _figure(thumbnails: Thumbnails, what: str, path: str) -> str:
    url = thumbnails.of(path)
    picture = f'<img src="{url}" alt="{escaped(what)}: {escaped(path)}" loading="lazy">' if url else "<p>no picture</p>"
    name = escaped(os.path.basename(path))
    return f"<figure>{picture}<figcaption>{escaped(what)}<br><small>{name}</small></figcaption></figure>"


def _draw(output: Path, matches: Matches, orientation: str) -> None:
    from matplotlib.figure import Figure

    from keras_sare.evaluation.plots.pictures import save_photo_figure

    shown = min(len(matches.queries), _PICTURE_QUERIES)
    columns = 1 + matches.found.shape[1]
    figure = Figure(figsize=(2.2 * columns, 2.2 * shown), layout="constrained")
    grid = figure.subplots(shown, columns, squeeze=False)
    for query, line in enumerate(grid):
        captions = ["query", *(f"{score:.3f}" for score in matches.scores[query].tolist())]
        photos = [str(matches.queries[query]), *matches.found[query].tolist()]
        for axes, photo, caption in zip(line, photos, captions, strict=True):
            _show(axes, photo, caption, orientation)
    save_photo_figure(figure, output)


def _show(axes: "Axes", photo: str, caption: str, orientation: str) -> None:
    from keras_sare.evaluation.plots.pictures import open_picture

    picture = open_picture(photo, orientation)
    picture.thumbnail((320, 320))
    axes.imshow(np.asarray(picture))
    axes.set_axis_off()
    axes.set_title(f"{caption}\n{printable(os.path.basename(photo))[-28:]}", fontsize=7, parse_math=False)
