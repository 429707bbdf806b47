"""Where a dataset keeps its image files: the folder layouts of the published datasets."""

import logging
import os

import numpy as np

logger = logging.getLogger(__name__)

DATABASE_FOLDERS = ("images",)
# Pittsburgh has `queries_real`, Tokyo 24/7 `query`; some datasets keep both sides in one folder.
QUERY_FOLDERS = ("queries", "queries_real", "query", "images")

_LOOKED_UP = 100


def join_image_folder(root: str | os.PathLike[str], folders: tuple[str, ...], paths: np.ndarray) -> np.ndarray:
    """Puts the folder that holds the files in front of relative image paths; absolute paths are kept.

    The folder is the one of `folders` under `root`, or `root` itself, where the most files are: up to 100 of the paths,
    spread evenly over the list, are looked up, so that missing files do not decide. Where none is there, positions can
    still be read: then it is `root` where most of the paths name one of the folders (`images/a.jpg`) or no such folder
    exists, else the first that exists. Which one it is, and why, is logged.

    Args:
        root: the dataset's folder.
        folders: names of folders under `root`, in order of preference.
        paths: [N] StringDType paths as the dataset lists them, with slashes or with Windows' backslashes.

    Returns:
        StringDType [N], with slashes.
    """
    paths = _plain(paths)
    absolute = np.strings.startswith(paths, "/") | (np.strings.find(paths, ":/") == 1)
    relative = paths[~absolute]
    if not len(relative):
        return paths
    chosen = np.unique(np.linspace(0, len(relative) - 1, _LOOKED_UP).round().astype(int))
    joined = np.strings.add(os.path.join(_folder(os.fspath(root), folders, relative[chosen]), ""), paths)
    joined[absolute] = paths[absolute]
    return joined


def _plain(paths: np.ndarray) -> np.ndarray:
    """Paths with slashes, and without "./" in front."""
    paths = np.strings.replace(paths, "\\", "/")
    dotted = np.strings.startswith(paths, "./")
    paths[dotted] = np.strings.replace(paths[dotted], "./", "", 1)
    return paths


def _folder(root: str, folders: tuple[str, ...], paths: np.ndarray) -> str:
    """The folder that relative paths start from."""
    existing = [path for name in folders if os.path.isdir(path := os.path.join(root, name))]
    found = {folder: _count_files(folder, paths) for folder in (*existing, root)}
    best = max(found, key=lambda folder: found[folder])  # the first of equals
    if found[best]:
        why = f"{found[best]} of {len(paths)} that were looked up are there"
    else:
        named = sum(np.strings.startswith(paths, f"{name}/").sum() for name in folders)
        best = root if 2 * named > len(paths) or not existing else existing[0]
        why = f"none of {len(paths)} that were looked up is there, nor in another folder of {root}"
    logger.info("Image paths such as %s start from %s: %s", paths[0], best, why)
    return best


def _count_files(folder: str, paths: np.ndarray) -> int:
    return sum(os.path.isfile(os.path.join(folder, path)) for path in paths.tolist())
