"""What compares unsure photos with their candidates, point by point."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_sare.localization import PlaceIndex
from keras_sare.localization.reranking.local_reranker import LocalReranker, RerankingSettings
from keras_sare.utils.choices import check_choice

_TRIED = 100


def open_rerankers(
    first: int, map_photos: Sequence[str], folders: Mapping[str, str | Path]
) -> dict[str, LocalReranker]:
    """Opens the re-rankers of maps, by the maps' names.

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
    only = next(iter(folders)) if len(folders) == 1 else ""
    rerankers = {}
    for root in map_photos:
        name, _, folder = root.rpartition("=")
        name = name or only
        check_choice("map_photos", name, folders)
        index = PlaceIndex(folders[name])
        _check_photos(Path(folder), index.names(_TRIED))
        reading = index.record.preprocessing or {}
        settings = RerankingSettings(first=first, orientation=reading.get("orientation", "upright"))
        rerankers[name] = LocalReranker(folder, settings)
    return rerankers


def _check_photos(folder: Path, names: Sequence[str]) -> None:
    if names and not any((folder / name).is_file() for name in names):
        raise FileNotFoundError(
            "`map_photos` must be the folder that the names of the index's photos are relative to: its --root. "
            f"Received: map_photos={str(folder)!r}, in which there is no {names[0]}"
        )
