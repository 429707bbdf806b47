"""The published lists of retrieval-SfM: photos of 3D models with pairs of query and positive."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.utils.formats.plain_lists import integer_list, text_list
from keras_sare.utils.formats.plain_pickle import load_plain_pickle

_FOLDERS = (slice(-2, None), slice(-4, -2), slice(-6, -4))


def read_retrieval_sfm(
    path: str | os.PathLike[str], images: str | os.PathLike[str], split: str | None = None
) -> SfMDataset:
    """Reads a published list, such as retrieval-SfM-120k.pkl or retrieval-SfM-120k-whiten.pkl. No code of it is run.

    Image "...abcdef" is looked for at `images`/ef/cd/ab/...abcdef. The files are not read here.

    Args:
        path: pickle of {"train": list, "val": list} or of one list. A list holds "cids" (names of images), "qidxs" and
            "pidxs" (numbers of queries and of their positives), and "cluster" (the 3D model of each image). Lists
            without "cluster", those for whitening, get the connected components of their pairs.
        images: folder of the images.
        split: "train" or "val"; None for a file of one list.

    Returns:
        Photos with `pairs`; `models` and `clusters` are the published clusters. Centres and points are not published.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such list, asks to run code, or has not that split.
    """
    content = load_plain_pickle(path)
    name = Path(path).stem if split is None else f"{Path(path).stem}_{split}"
    if split is not None:
        content = _item(content, split, "split", path)
    cids = text_list(_item(content, "cids", "path", path), "cids", path)
    # The folders are cut out of the name, and a name with folders of its own might lead anywhere.
    wrong = next((cid for cid in cids if len(cid) < 6 or "/" in cid), None)
    if wrong is not None:
        raise ValueError(
            f"`path` must list image names of six or more characters. Received: {wrong!r}, path={os.fspath(path)!r}"
        )
    queries, positives = (integer_list(_item(content, key, "path", path), key, path) for key in ("qidxs", "pidxs"))
    if queries.shape != positives.shape:
        raise ValueError(
            "`path` must hold a positive for each query. "
            f"Received: {len(queries)} qidxs, {len(positives)} pidxs, path={os.fspath(path)!r}"
        )
    pairs = np.stack([queries, positives], axis=1)
    if pairs.size and not 0 <= pairs.min() <= pairs.max() < len(cids):
        raise ValueError(
            f"`path` must hold pairs of its {len(cids)} images. "
            f"Received: numbers from {pairs.min()} to {pairs.max()}, path={os.fspath(path)!r}"
        )
    published = "cluster" in content
    clusters = integer_list(content["cluster"], "cluster", path) if published else _components(len(cids), pairs)
    paths = np.array([_file(images, cid) for cid in cids], np.dtypes.StringDType())
    return SfMDataset(name, paths, clusters, clusters, pairs=pairs)


def _item(content: Any, key: str, argument: str, path: str | os.PathLike[str]) -> Any:
    if isinstance(content, Mapping) and key in content:
        return content[key]
    # Of keys only text is shown: others may be many times as long as the file.
    names = (name[:100] for name in content if isinstance(name, str)) if isinstance(content, Mapping) else ()
    held = sorted(names) or type(content).__name__
    hint = " Lists lie in a split: name it, as in `split`='train'." if argument == "path" else ""
    raise ValueError(
        f"`{argument}` must name a retrieval-SfM list; there is no {key!r}.{hint} "
        f"Received: path={os.fspath(path)!r} with {held}"
    )


def _file(images: str | os.PathLike[str], cid: str) -> str:
    return os.path.join(images, *(cid[part] for part in _FOLDERS), cid)


def _components(count: int, pairs: np.ndarray) -> np.ndarray:
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)
