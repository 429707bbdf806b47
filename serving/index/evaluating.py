"""How right an index answers for photos whose position is known."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_sare.datasets import ImageSet
from keras_sare.localization import Answers, DescriptorLocalizer, Motion, PlaceIndex, Prior, rough_position
from keras_sare.localization.accuracy import Accuracy
from keras_sare.localization.accuracy_plot import draw_accuracy
from keras_sare.localization.photo_answers import answers_of_maps
from keras_sare.utils.files import atomic_path, check_writable_folder
from serving.descriptors.resumable import DescriptorFiles
from serving.index.calibrating import Ways
from serving.index.map_photos import MapSettings, kind_of, positions_of, queries_of, walks_of
from serving.locate.answer_files import write_answers

logger = logging.getLogger("keras_sare.index")


@dataclass(frozen=True)
class Questions:
    """What is asked of an index.

    Attributes:
        splits: whose queries are located.
        k: candidates looked at for each photo.
        precision: share of the known answers that should be right.
        radius: metres within which an answer is right.
        ways: of locating photos.
        sequence: whether they are located walk by walk.
        rough: metres within which a position is known, which is simulated; None: it is not.
    """

    splits: Sequence[str]
    k: int = 20
    precision: float = 0.9
    radius: float = 25.0
    ways: Ways = field(default_factory=Ways)
    sequence: bool = False
    rough: float | None = None

    @property
    def way(self) -> str:
        """In which photos are located, for people; empty where each stands alone."""
        if self.ways.rerank:
            return f"re-ranked where unsure, {self.ways.rerank} candidates"
        if self.sequence:
            return f"walk by walk, {self.ways.speed:g} m from photo to photo"
        return "" if self.rough is None else f"known within {self.rough:g} m"


def evaluate(folder: Path, settings: MapSettings, asked: Questions, output: Path) -> str:
    """Locates the queries of some splits, and compares the answers with where they were taken.

    Broken off, the same call goes on from the descriptors that are there.

    Args:
        folder: of the index.
        settings: the data set of the queries, and the index's model.
        asked: which queries, in which way, and what counts as right.
        output: folder for accuracy.json, accuracy.md, accuracy.png and answers.csv; of photos each alone also for
            alone.json, where another way is asked for.

    Returns:
        The numbers as a table, Markdown; of photos each alone before those of another way.

    Raises:
        FileNotFoundError: there is no such index, model or data set.
        ValueError: the model, or the kind of the positions, is another than the index's, there is no such split, or
            it has no walks.
    """
    index = PlaceIndex(folder)
    reranker = asked.ways.reranker(index)
    localizer = DescriptorLocalizer(index, asked.k, asked.precision, reranker=reranker)
    known = queries_of(settings, asked.splits, index.record.kind)
    walks = _walks(known, asked)
    check_writable_folder(output)
    model = settings.open_model()
    index.check_model(model.identity)
    descriptors = DescriptorFiles(output / "descriptors").of(model, known.paths, settings.batch)
    title = f"{folder.name}: {len(known)} photos of {', '.join(asked.splits)} among {len(index)}"
    answers = localizer.locate(descriptors)
    tables = [title]
    if asked.way:
        alone = Accuracy.of(localizer, answers, positions_of(known), asked.radius)
        tables += [f"Each alone:\n\n{alone.write(output / 'alone.json')}", f"{asked.way.capitalize()}:"]
        photos = None if reranker is None else reranker.lazy(known.paths.tolist())
        if walks:
            answers = _walked(localizer, descriptors, walks, asked.ways.motion)
        else:
            answers = localizer.locate(descriptors, _prior(known, asked), photos)
    accuracy = Accuracy.of(localizer, answers, positions_of(known), asked.radius)
    table = "\n\n".join([*tables, accuracy.write(output / "accuracy.json")]) + "\n"
    with atomic_path(output / "accuracy.md") as path:
        path.write_text(table, encoding="utf-8")
    draw_accuracy(output / "accuracy.png", accuracy, title)
    told = answers_of_maps({folder.name: localizer}, {folder.name: answers})
    write_answers(output / "answers.csv", zip(known.paths.tolist(), told, strict=True), index.record.axes)
    return table


def _walks(known: ImageSet, asked: Questions) -> list[np.ndarray]:
    if not asked.sequence:
        return []
    walks = walks_of(known, asked.ways.walk_gap)
    if not walks:
        raise ValueError("The data set must have traversals for --sequence; say by --walk_gap=METRES where walks end")
    return walks


def _prior(known: ImageSet, asked: Questions) -> Prior | None:
    return None if asked.rough is None else rough_position(positions_of(known), asked.rough, kind_of(known))


def _walked(
    localizer: DescriptorLocalizer, descriptors: np.ndarray, walks: Sequence[np.ndarray], motion: Motion
) -> Answers:
    """Answers to all photos, each walk located as a whole."""
    found = [localizer.locate_sequence(descriptors[rows], motion=motion) for rows in walks]
    return Answers.joined(found).subset(np.argsort(np.concatenate(walks)))
