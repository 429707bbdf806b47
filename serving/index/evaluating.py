"""How right an index answers for photos whose position is known."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keras_sare.localization import DescriptorLocalizer, PlaceIndex
from keras_sare.localization.accuracy import Accuracy
from keras_sare.localization.accuracy_plot import draw_accuracy
from keras_sare.localization.photo_answers import answers_of_maps
from keras_sare.utils.files import atomic_path, check_writable_folder
from serving.index.map_photos import MapSettings, positions_of, queries_of
from serving.locate.answer_files import write_answers
from trainers.stages.evaluated.resumable import DescriptorFiles

logger = logging.getLogger("keras_sare.index")


@dataclass(frozen=True)
class Questions:
    """What is asked of an index.

    Attributes:
        splits: whose queries are located.
        k: candidates looked at for each photo.
        precision: share of the known answers that should be right.
        radius: metres within which an answer is right.
    """

    splits: Sequence[str]
    k: int = 20
    precision: float = 0.9
    radius: float = 25.0


def evaluate(folder: Path, settings: MapSettings, asked: Questions, output: Path) -> str:
    """Locates the queries of some splits, and compares the answers with where they were taken.

    Broken off, the same call goes on from the descriptors that are there.

    Args:
        folder: of the index.
        settings: the data set of the queries, and the index's model.
        asked: which queries, and what counts as right.
        output: folder for accuracy.json, accuracy.md, accuracy.png and answers.csv.

    Returns:
        The numbers as a table, Markdown.

    Raises:
        FileNotFoundError: there is no such index, model or data set.
        ValueError: the model, or the kind of the positions, is another than the index's, or there is no such split.
    """
    index = PlaceIndex(folder)
    localizer = DescriptorLocalizer(index, asked.k, asked.precision)
    known = queries_of(settings, asked.splits, index.record.kind)
    check_writable_folder(output)
    model = settings.open_model()
    index.check_model(model.identity)
    descriptors = DescriptorFiles(output / "descriptors").of(model, known.paths, settings.batch)
    answers = localizer.locate(descriptors)
    accuracy = Accuracy.of(localizer, answers, positions_of(known), asked.radius)
    title = f"{folder.name}: {len(known)} photos of {', '.join(asked.splits)} among {len(index)}"
    table = f"{title}\n\n{accuracy.write(output / 'accuracy.json')}\n"
    with atomic_path(output / "accuracy.md") as path:
        path.write_text(table, encoding="utf-8")
    draw_accuracy(output / "accuracy.png", accuracy, title)
    told = answers_of_maps({folder.name: localizer}, {folder.name: answers})
    write_answers(output / "answers.csv", zip(known.paths.tolist(), told, strict=True), index.record.axes)
    return table
