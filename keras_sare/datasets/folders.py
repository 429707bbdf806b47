"""Where a dataset keeps its image files: the folder layouts of the published datasets."""

import os

import numpy as np

DATABASE_FOLDERS = ("images",)
# Pittsburgh has `queries_real`, Tokyo 24/7 `query`; some datasets keep both sides in one folder.
QUERY_FOLDERS = ("queries", "queries_real", "query", "images")


def join_image_folder(root: str | os.PathLike[str], folders: tuple[str, ...], paths: np.ndarray) -> np.ndarray:
    """Puts the folder that holds the files in front of relative image paths; absolute paths are kept.

    The folder is the first of `folders` that exists under `root`, or `root` itself: where none exists, and also where
    the first path leads to a file from `root` but not from that folder (a list that names `images/a.jpg`). Only the
    first path is looked up, so positions can be read without the images.

    Args:
        root: the dataset's folder.
        folders: names of folders under `root`, in order of preference.
        paths: [N] StringDType paths as the dataset lists them.

    Returns:
        StringDType [N].
    """
    root = os.fspath(root)
    folder = next((path for name in folders if os.path.isdir(path := os.path.join(root, name))), root)
    if len(paths) and _is_only_under(root, folder, str(paths[0])):
        folder = root
    joined = np.strings.add(os.path.join(folder, ""), paths)
    absolute = np.strings.startswith(paths, "/")
    joined[absolute] = paths[absolute]
    return joined


def _is_only_under(root: str, folder: str, path: str) -> bool:
    return os.path.exists(os.path.join(root, path)) and not os.path.exists(os.path.join(folder, path))
