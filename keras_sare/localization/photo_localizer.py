"""Where photos were taken, from their files: a model and the indexes of maps, without a server."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_sare.localization.localizer import DescriptorLocalizer
from keras_sare.localization.photo_answers import PhotoAnswer, photo_answers
from keras_sare.localization.photo_models import PhotoModel, open_photo_model
from keras_sare.localization.place_index import PlaceIndex
from keras_sare.localization.priors.prior import Prior
from keras_sare.localization.reranking.reranked import Reranker
from keras_sare.localization.sequences.motion import Motion
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.choices import check_choice

if TYPE_CHECKING:
    from keras_sare.localization.reranking.lazy_photos import LazyPhotos

Photo = str | Path | bytes
"""A file, or what is in one."""
MOST_BYTES = 64 * 2**20
"""Of a file, as many as a server takes in a request."""


class Localizer:
    """Answers where photos were taken; the server and `python -m serving.locate` say the same.

    Args:
        index: folder of a place index, whose name is that of its map; or the folders of several by the maps' names.
        model: that the indexes were built with: an exported SavedModel, the folder of its versions, or a `.keras` file.
        k: candidates of each photo; see `DescriptorLocalizer`.
        precision: share of the answers that should be right among those that are `known`; see `DescriptorLocalizer`.
        rerankers: by the maps' names, what compares their candidates with photos whose answer is not `known` otherwise.

    Raises:
        ImportError: lancedb is not installed.
        FileNotFoundError: there is no such index or model.
        ValueError: one is damaged, they do not belong together, or an argument is out of range.

    Example:
        localizer = keras_sare.Localizer("maps/town", "exports/saved_model")
        (answer,) = localizer.locate(["photo.jpg"])
        print(answer.position, answer.probability)
    """

    @plain_arguments
    def __init__(
        self,
        index: str | Path | Mapping[str, str | Path],
        model: str | Path | PhotoModel,
        k: int = 20,
        precision: float = 0.9,
        rerankers: Mapping[str, Reranker] | None = None,
    ) -> None:
        folders = index if isinstance(index, Mapping) else {Path(index).absolute().name: index}
        if not folders:
            raise ValueError("`index` must name one index at least. Received: none")
        indexes = {name: PlaceIndex(folder) for name, folder in folders.items()}
        self._rerankers = rerankers or {}
        for name in self._rerankers:
            check_choice("rerankers", name, indexes)
        self._maps = {
            name: DescriptorLocalizer(one, k, precision, reranker=self._rerankers.get(name))
            for name, one in indexes.items()
        }
        first = next(iter(indexes.values()))
        if isinstance(model, str | Path):
            self._model = open_photo_model(model, first.record.preprocessing)
        else:
            self._model = model
        for one in indexes.values():
            one.check_model(self._model.identity)

    @plain_arguments
    def locate(
        self,
        photos: Sequence[Photo],
        prior: Prior | None = None,
        walk: Motion | None = None,
        maps: Sequence[str] = (),
        batch: int = 8,
    ) -> list[PhotoAnswer]:
        """Locates photos. One that cannot be read has an `error`, and does not keep the others from their answers.

        Args:
            photos: files, or their contents: JPEG, PNG, WebP or GIF.
            prior: what is known of them already: a rough position, the time of day.
            walk: how far it is from one photo to the next, where all are of one walk in this order; their descriptors
                are then in memory together. None: each stands alone.
            maps: names of those that are searched; all by default.
            batch: photos that are in memory at a time.

        Raises:
            ValueError: `photos` is a single one; `near` has not one position, or one for each photo, or the maps that
                are searched have positions of two kinds; there is no such map; or `batch` is not positive.
        """
        if isinstance(photos, str | bytes):
            raise ValueError('`photos` must be a list, as in ["photo.jpg"]. Received: a single photo')
        if batch < 1:
            raise ValueError(f"`batch` must be positive. Received: batch={batch}")
        for name in maps:
            check_choice("maps", name, self._maps)
        prior = prior or Prior()
        prior.check_photos(len(photos))
        searched = {name: one for name, one in self._maps.items() if not maps or name in maps}
        prior.check_maps({one.index.record.kind for one in searched.values()})
        parts = [slice(start, start + batch) for start in range(0, len(photos), batch)]
        if walk is None:
            numbers = np.arange(len(photos))
            located = (
                photo_answers(
                    searched, *self._extract(photos[one]), prior.of(numbers[one]), photos=self._lazy(photos[one])
                )
                for one in parts
            )
            return [answer for answers in located for answer in answers]
        extracted = [self._extract(photos[one]) for one in parts]
        descriptors = np.concatenate([rows for rows, _ in extracted] or [np.zeros((0, 1))])
        return photo_answers(searched, descriptors, [one for _, errors in extracted for one in errors], prior, walk)

    def _lazy(self, photos: Sequence[Photo]) -> "LazyPhotos | None":
        if not self._rerankers:
            return None
        return next(iter(self._rerankers.values())).lazy(photos)

    def _extract(self, photos: Sequence[Photo]) -> tuple[np.ndarray, list[str]]:
        contents, unread = _contents(photos)
        descriptors, errors = self._model.extract(contents)
        return descriptors, [first or second for first, second in zip(unread, errors, strict=True)]


def _contents(photos: Sequence[Photo]) -> tuple[list[bytes], list[str]]:
    """What is in the files, and why one cannot be read; empty where it can."""
    read = [(photo, "") if isinstance(photo, bytes) else _read(photo) for photo in photos]
    return [contents for contents, _ in read], [error for _, error in read]


def _read(path: str | Path) -> tuple[bytes, str]:
    try:
        with Path(path).open("rb") as file:
            contents = file.read(MOST_BYTES + 1)
        return (contents, "") if len(contents) <= MOST_BYTES else (b"", f"more than {MOST_BYTES} bytes")
    except FileNotFoundError:
        return b"", "missing"
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte.
        return b"", getattr(error, "strerror", None) or str(error)
