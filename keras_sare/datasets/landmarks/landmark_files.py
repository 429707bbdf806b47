"""Landmark datasets as they are published: revisited annotation, the classic text files, INRIA Holidays."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_sare.datasets.images.image_folder import ImageFolder
from keras_sare.datasets.landmarks.landmark_dataset import LABELS, LandmarkDataset
from keras_sare.utils.formats.plain_lists import integer_list, text_list
from keras_sare.utils.formats.plain_pickle import load_plain_pickle

_IMAGE_FOLDERS = ("images", "jpg")
_PICKLES = (".pkl", ".pickle")
_HOLIDAYS_DIGITS = 6
_HOLIDAYS_GROUP = 100


def read_landmarks(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None, name: str | None = None
) -> LandmarkDataset:
    """Reads an image-retrieval dataset with its ground truth; the layout is recognised by the files.

    * A file `gnd_NAME.pkl` or `.json`, or a folder that holds one: lists `imlist` and `qimlist` of image names and for
      each query `bbx` and database indices under `ok`, `easy`, `hard`, `junk` (revisited Oxford and Paris). Pickles are
      read without running anything, see `load_plain_pickle`.
    * A folder with `*_query.txt`, `*_good.txt`, `*_ok.txt`, `*_junk.txt` (Oxford5k, Paris6k): good and ok count as
      right. The database is every image of the folder.
    * A folder of images whose names are six digits (INRIA Holidays): the first four are the group, the query of a group
      ends in 00. The query itself is ignored in its ranking.

    Files are found by their names with or without extension, in sub-folders too. Only their presence is checked; see
    `LandmarkDataset.check_images`.

    Args:
        path: a file or folder as above.
        images: folder with the image files; by default `images` or `jpg` beside the file or in the folder, or the
            folder itself.
        name: of the dataset; by default that of the file without "gnd_", or of the folder.

    Raises:
        FileNotFoundError: there is no `path`.
        ValueError: nothing known is there, the ground truth has another form, or images are missing (how many, and the
            first of them).
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"`path` must be a file or folder with a ground truth. Received: path={path}")
    folder = path if path.is_dir() else path.parent
    listing = _listing(path)
    files = ImageFolder(images if images is not None else _image_folder(folder))
    if listing is not None:
        return _read_listing(listing, files, name or listing.stem.removeprefix("gnd_"))
    if next(folder.glob("*_query.txt"), None):
        return _read_classic(folder, files, name or folder.name)
    if all(_holidays_number(file) is not None for file in files.files):
        return _read_holidays(files, name or folder.name)
    raise ValueError(
        "`path` must be gnd_NAME.pkl, gnd_NAME.json or a folder with one, a folder with *_query.txt files, or one with "
        f"images of six digits (Holidays). Received: path={path}"
    )


def _listing(path: Path) -> Path | None:
    """The file with `imlist` and `gnd`, if that is how the dataset is written."""
    if path.is_file():
        if path.suffix.lower() not in (".json", *_PICKLES):
            raise ValueError(f"`path` must be a folder, or a file .json, .pkl or .pickle. Received: path={path}")
        return path
    found = sorted(file for file in path.glob("gnd_*") if file.suffix.lower() in (".json", *_PICKLES))
    if len({file.stem for file in found}) > 1:
        raise ValueError(
            "`path` must be one of the ground truths where a folder holds several. "
            f"Received: path={path} with {', '.join(file.name for file in found)}"
        )
    return found[0] if found else None


def _image_folder(folder: Path) -> Path:
    return next((folder / name for name in _IMAGE_FOLDERS if (folder / name).is_dir()), folder)


def _read_listing(path: Path, files: ImageFolder, name: str) -> LandmarkDataset:
    contents = load_plain_pickle(path) if path.suffix.lower() in _PICKLES else json.loads(path.read_text("utf-8"))
    if not isinstance(contents, Mapping) or not {"imlist", "qimlist", "gnd"} <= set(contents):
        # Of keys only text is shown: others may be many times as long as the file.
        names = (name[:100] for name in contents if isinstance(name, str)) if isinstance(contents, Mapping) else ()
        raise ValueError(
            f"{path} must hold `imlist`, `qimlist` and `gnd`. Received: {sorted(names) or type(contents).__name__}"
        )
    images, queries = (text_list(contents[key], key, path) for key in ("imlist", "qimlist"))
    truths = contents["gnd"]
    if (
        not isinstance(truths, list | tuple)
        or len(truths) != len(queries)
        or not all(isinstance(truth, Mapping) for truth in truths)
    ):
        entries = f"{len(truths)} entries" if isinstance(truths, list | tuple) else type(truths).__name__
        raise ValueError(
            f"`gnd` of {path} must hold one dict for each query. Received: {entries}, {len(queries)} queries"
        )
    labels = tuple(_labels(truth, f"gnd[{query}]", path) for query, truth in enumerate(truths))
    return LandmarkDataset(name, files.find(images, path), files.find(queries, path), _boxes(path, truths), labels)


def _labels(truth: Mapping[str, Any], key: str, path: Path) -> dict[str, np.ndarray]:
    labels = {}
    for label in LABELS:
        if label in truth:
            values = truth[label]
            # MATLAB writes matrices, and a single number without a list.
            if isinstance(values, np.ndarray | np.integer | int):
                values = np.array(values).reshape(-1)
            labels[label] = integer_list(values, f"{key}[{label!r}]", path)
    return labels


def _boxes(path: Path, truths: Sequence[Mapping[str, Any]]) -> np.ndarray | None:
    boxes = [_box(truth.get("bbx")) for truth in truths]
    missing = [query for query, box in enumerate(boxes) if box is None]
    if len(missing) == len(boxes):
        return None
    if missing:
        raise ValueError(
            f"`bbx` of {path} must be x1, y1, x2, y2 for every query or for none. "
            f"Received: {len(missing)} of {len(boxes)} queries without, first gnd[{missing[0]}]"
        )
    return np.array(boxes)


def _box(values: Any) -> list[float] | None:
    """Four numbers, if that is what the values are."""
    sides = values.reshape(-1).tolist() if isinstance(values, np.ndarray) else values
    if not isinstance(sides, list | tuple) or len(sides) != 4:
        return None
    if not all(isinstance(side, int | float | np.integer | np.floating) for side in sides):
        return None
    try:
        return [float(side) for side in sides]
    except OverflowError:
        return None


def _read_classic(folder: Path, files: ImageFolder, name: str) -> LandmarkDataset:
    database = files.paths()
    index_of = {path: index for index, path in enumerate(database)}
    names = []
    boxes = []
    labels = []
    for query in sorted(folder.glob("*_query.txt")):
        image, *box = query.read_text("utf-8").split()
        if len(box) != 4:
            raise ValueError(f"{query} must hold an image name and x1 y1 x2 y2. Received: {query.read_text()[:100]!r}")
        names.append(image.removeprefix("oxc1_"))
        boxes.append([float(side) for side in box])
        parts = {
            part: query.with_name(query.name.replace("_query.txt", f"_{part}.txt")) for part in ("good", "ok", "junk")
        }
        found = {
            part: [index_of[path] for path in files.find(file.read_text("utf-8").split(), file)]
            for part, file in parts.items()
        }
        labels.append(
            {"ok": np.array(found["good"] + found["ok"], np.int64), "junk": np.array(found["junk"], np.int64)}
        )
    queries = files.find(names, folder)
    return LandmarkDataset(name, database, queries, np.array(boxes), tuple(labels))


def _read_holidays(files: ImageFolder, name: str) -> LandmarkDataset:
    numbers = np.array([_holidays_number(file) for file in files.files], np.int64)
    groups = numbers // _HOLIDAYS_GROUP
    queries = np.flatnonzero(numbers % _HOLIDAYS_GROUP == 0)
    without_positive = np.setdiff1d(groups, groups[queries])
    if len(without_positive):
        raise ValueError(
            "`images` must hold the query ...00 of every group of Holidays. "
            f"Received: {len(without_positive)} groups without, first {without_positive[0]:04d}, in {files.folder}"
        )
    labels = tuple(
        {"ok": np.setdiff1d(np.flatnonzero(groups == groups[i]), [i]), "junk": queries[[k]]}
        for k, i in enumerate(queries)
    )
    database = files.paths()
    return LandmarkDataset(name, database, database[queries], None, labels)


def _holidays_number(file: str) -> int | None:
    stem = Path(file).stem
    return int(stem) if len(stem) == _HOLIDAYS_DIGITS and stem.isascii() and stem.isdigit() else None
