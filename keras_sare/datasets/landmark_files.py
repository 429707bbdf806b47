"""Landmark datasets as they are published: revisited annotation, the classic text files, INRIA Holidays."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_sare.datasets.landmark_dataset import LABELS, LandmarkDataset
from keras_sare.datasets.landmark_images import ImageFolder
from keras_sare.utils.plain_pickle import load_plain_pickle

_IMAGE_FOLDERS = ("images", "jpg")
_PICKLES = (".pkl", ".pickle")
_HOLIDAYS_DIGITS = 6
_HOLIDAYS_GROUP = 100


def read_landmarks(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None, name: str | None = None
) -> LandmarkDataset:
    """Reads an image-retrieval dataset with its ground truth; the layout is told by what is there.

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
        received = sorted(map(str, contents)) if isinstance(contents, Mapping) else type(contents).__name__
        raise ValueError(f"{path} must hold `imlist`, `qimlist` and `gnd`. Received: {received}")
    truths = list(contents["gnd"])
    if len(truths) != len(contents["qimlist"]) or not all(isinstance(truth, Mapping) for truth in truths):
        raise ValueError(
            f"`gnd` of {path} must hold one dict for each query. "
            f"Received: {len(truths)} entries, {len(contents['qimlist'])} queries"
        )
    database = files.find([str(image) for image in contents["imlist"]], path)
    queries = files.find([str(image) for image in contents["qimlist"]], path)
    labels = tuple({label: _indices(truth[label]) for label in LABELS if label in truth} for truth in truths)
    return LandmarkDataset(name, database, queries, _boxes(path, truths), labels)


def _indices(values: Any) -> np.ndarray:
    array = np.asarray(values)
    # An empty list has no integer type, and MATLAB writes empty matrices.
    return array.reshape(-1) if array.size else np.zeros(0, np.int64)


def _boxes(path: Path, truths: list[Mapping[str, Any]]) -> np.ndarray | None:
    boxes = [truth.get("bbx") for truth in truths]
    given = [box is not None and np.size(box) == 4 for box in boxes]
    if not any(given):
        return None
    if not all(given):
        raise ValueError(
            f"`bbx` of {path} must be x1, y1, x2, y2 for every query or for none. "
            f"Received: {len(given) - sum(given)} of {len(given)} queries without, first gnd[{given.index(False)}]"
        )
    return np.array([np.asarray(box, np.float64).ravel() for box in boxes])


def _read_classic(folder: Path, files: ImageFolder, name: str) -> LandmarkDataset:
    database = files.paths()
    index_of = {path: index for index, path in enumerate(database)}
    names, boxes, labels = [], [], []
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
    lonely = np.setdiff1d(groups, groups[queries])
    if len(lonely):
        raise ValueError(
            "`images` must hold the query ...00 of every group of Holidays. "
            f"Received: {len(lonely)} groups without, first {lonely[0]:04d}, in {files.folder}"
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
