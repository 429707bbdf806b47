"""The lists of OpenIBL: `meta.json` and `splits.json`, images in `raw`."""

from pathlib import Path
from typing import Any

import numpy as np

from keras_sare.datasets.places.image_set import ImageSet
from keras_sare.datasets.places.place_dataset import PlaceDataset
from keras_sare.datasets.places.readers.folders import join_image_folder
from keras_sare.datasets.places.readers.place_reader import PlaceReader
from keras_sare.utils.formats.json_file import read_json
from keras_sare.utils.formats.plain_lists import integer_list, text_list

_SPLITS = ("train", "val", "test")
_FOLDERS = ("raw",)


class _Lists:
    """The two files of one dataset (Ge et al., "Self-supervising Fine-grained Region Similarities", ECCV 2020).

    An identity is a position with the images that were taken there, such as the cut-outs of a panorama.
    """

    def __init__(self, root: Path, prefix: str) -> None:
        self._root = root
        self._meta, self._splits_path = _files(root, prefix)
        self._splits = _mapping(self._splits_path, ("q_test", "db_test"))
        meta = _mapping(self._meta, ("identities", "utm"))
        self.name = f"{meta['name']}"[:100] if isinstance(meta.get("name"), str) else root.resolve().name
        self._images = _of_length(meta["identities"], "identities", self._meta)
        self._positions = _positions(meta["utm"], len(self._images), self._meta)

    def splits(self) -> list[str]:
        return [split for split in _SPLITS if self._splits.get(f"q_{split}") or self._splits.get(f"db_{split}")]

    def side(self, side: str, split: str) -> ImageSet:
        """The images of "q" or "db"."""
        key = f"{side}_{split}"
        identities = np.sort(integer_list(self._splits.get(key, []), key, self._splits_path))
        outside = identities[(identities < 0) | (identities >= len(self._images))]
        if len(outside):
            raise ValueError(
                f"`{key}` must hold numbers of the {len(self._images)} identities of {self._meta}; take both files "
                f"from one dataset. Received: {outside[0]}, path={self._splits_path}"
            )
        images = [text_list(self._images[i], f"identities[{i}]", self._meta) for i in identities.tolist()]
        rows = np.repeat(identities, [len(names) for names in images])
        paths = np.array([name for names in images for name in names], np.dtypes.StringDType())
        return ImageSet(
            paths=join_image_folder(self._root, _FOLDERS, paths),
            positions=self._positions[rows],
            places=rows.astype(np.dtypes.StringDType()),
        )


def _read(root: Path, prefix: str) -> dict[str, PlaceDataset]:
    lists = _Lists(root, prefix)
    return {
        split: PlaceDataset(f"{lists.name}_{split}", lists.side("db", split), lists.side("q", split))
        for split in lists.splits()
    }


def _read_databases(root: Path, prefix: str) -> dict[str, ImageSet]:
    lists = _Lists(root, prefix)
    sides = {split: lists.side("db", split) for split in lists.splits()}
    return {split: images for split, images in sides.items() if len(images)}


def _pairs(root: Path, prefix: str) -> list[tuple[Path, Path]]:
    """`meta.json`, or `meta_250k.json` for the prefix "250k", each with its `splits.json`."""
    found = [path for path in (root / "meta.json", *sorted(root.glob("meta_*.json"))) if path.is_file()]
    pairs = [(path, path.with_name(path.name.replace("meta", "splits", 1))) for path in found]
    return [(meta, splits) for meta, splits in pairs if splits.is_file() and meta.stem[5:].startswith(prefix)]


def _files(root: Path, prefix: str) -> tuple[Path, Path]:
    pairs = _pairs(root, prefix)
    if len(pairs) > 1:
        raise ValueError(
            "`root` must hold one dataset; choose by `prefix`, such as 30k for meta_30k.json. "
            f"Received: root={root}, prefix={prefix!r}, found {[meta.name for meta, _ in pairs]}"
        )
    return pairs[0]


def _mapping(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    contents = read_json(path)
    if not isinstance(contents, dict) or not set(keys) <= set(contents):
        found = sorted(key[:50] for key in contents)[:10] if isinstance(contents, dict) else type(contents).__name__
        raise ValueError(f"`path` must hold {' and '.join(keys)}, as OpenIBL writes it. Received: {found}, path={path}")
    return contents


def _of_length(values: Any, key: str, path: Path) -> list[Any]:
    if not isinstance(values, list):
        raise ValueError(
            f"`{key}` must be a list, one entry for each position. Received: {type(values).__name__}, path={path}"
        )
    return values


def _positions(values: Any, count: int, path: Path) -> np.ndarray:
    """float64 [count, 2], metres."""
    pairs = _of_length(values, "utm", path)
    wrong = next((i for i, pair in enumerate(pairs) if not _is_position(pair)), None)
    if wrong is not None or len(pairs) != count:
        received = f"{len(pairs)} entries" if wrong is None else f"another entry as utm[{wrong}]"
        raise ValueError(
            f"`utm` must hold [easting, northing] in metres for each of the {count} identities; write the file anew. "
            f"Received: {received}, path={path}"
        )
    return np.array(pairs, np.float64).reshape(-1, 2)


def _is_position(pair: Any) -> bool:
    numbers = isinstance(pair, list) and len(pair) == 2 and all(type(number) in (int, float) for number in pair)
    return numbers and all(abs(number) < 1e9 for number in pair)


OPENIBL = PlaceReader(
    files=("meta.json or meta_*.json with splits of the same name",),
    fits=lambda root, prefix: bool(_pairs(root, prefix)),
    read=_read,
    read_databases=_read_databases,
)
"""`meta.json` and `splits.json`, or `meta_30k.json` and `splits_30k.json`; images in `raw`."""
