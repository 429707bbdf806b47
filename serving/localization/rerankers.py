"""What compares unsure photos with their candidates, point by point."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_sare.localization import Candidates, PlaceIndex
from keras_sare.localization.reranking.reranked import Reranked, Reranker
from keras_sare.utils.choices import check_choice
from serving.arguments import named_folder
from serving.localization.uncalibrated import warn_of_uncalibrated

if TYPE_CHECKING:
    from keras_sare.localization.reranking.lazy_photos import LazyPhotos
    from keras_sare.localization.reranking.local_reranker import LocalReranker

_TRIED = 100


class TimedReranker:
    """A re-ranker for one request: it compares no more candidates once nobody waits for the answer.

    Args:
        reranker: what compares them.
        check: called before each comparison; what it raises ends the work.
    """

    def __init__(self, reranker: Reranker, check: Callable[[], None]) -> None:
        self._reranker = reranker
        self._check = check

    def rerank(
        self,
        candidates: Candidates,
        photos: Sequence[np.ndarray],
        chosen: np.ndarray,
        check: Callable[[], None] | None = None,
    ) -> Reranked:
        """See `Reranker.rerank`."""
        return self._reranker.rerank(candidates, photos, chosen, check or self._check)

    def lazy(self, photos: Sequence[str | Path | bytes]) -> "LazyPhotos":
        """See `Reranker.lazy`."""
        return self._reranker.lazy(photos)


def open_rerankers(
    first: int, map_photos: Sequence[str], folders: Mapping[str, str | Path]
) -> dict[str, "LocalReranker"]:
    """Opens the re-rankers of maps, by the maps' names. A map that knows nothing of re-ranked answers is logged.

    Args:
        first: candidates of each photo that are compared.
        map_photos: `FOLDER` of a map's photos, where there is one map; else `NAME=FOLDER`.
        folders: of the place indexes, by the maps' names.

    Raises:
        ImportError: pycolmap is not installed.
        FileNotFoundError: a folder is no place index, or a map's photos are not in theirs.
        NotADirectoryError: there is no such folder of photos.
        RuntimeError: weights could not be fetched.
        ValueError: there is no such map, or `first` is not positive.
    """
    # With it comes TensorFlow.
    from keras_sare.localization.reranking.local_reranker import LocalReranker, RerankingSettings

    rerankers = {}
    for text in map_photos:
        name, folder = named_folder(text)
        if "=" not in text and len(folders) == 1:
            (name,) = folders
        check_choice("map_photos", name, folders)
        if name in rerankers:
            raise ValueError(f"`map_photos` must name each map once. Received: {name} twice")
        index = PlaceIndex(folders[name])
        _check_photos(folder, index.names(_TRIED))
        reading = index.record.preprocessing or {}
        settings = RerankingSettings(first=first, orientation=reading.get("orientation", "upright"))
        warn_of_uncalibrated(name, index.record, "reranked")
        rerankers[name] = LocalReranker(folder, settings)
    return rerankers


def _check_photos(folder: Path, names: Sequence[str]) -> None:
    if names and not any((folder / name).is_file() for name in names):
        raise FileNotFoundError(
            "`map_photos` must be the folder that the names of the index's photos are relative to: its --root. "
            f"Received: map_photos={str(folder)!r}, in which there is no {names[0]}"
        )
