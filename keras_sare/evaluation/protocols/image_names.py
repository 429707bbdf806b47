"""What the names of image files say: panorama, frame, and time of day, as the published datasets write them."""

import re

import numpy as np

# Tokyo 24/7: PANORAMA_012_030.png, twelve views of 30 degrees; Pittsburgh: PANORAMA_pitch1_yaw12.jpg.
_CUTOUT = re.compile(r"_(?:012_\d{3}|pitch\d+_yaw\d+)\.\w+$")
_TOKYO_QUERY = re.compile(r"(\d{5})\.\w+$")
_PANORAMA_FIELD = 7
_FIELDS = 15
_TOKYO_CONDITIONS = ("day", "sunset", "night")


def panoramas(paths: np.ndarray) -> np.ndarray | None:
    """Number of the panorama that each image is cut out of, int64 [N], equal for those of one panorama.

    The names say it, not the places in the list: so it stays right where unreadable images are left out.

    Args:
        paths: [N] files.

    Returns:
        The numbers; None where a name is none of a cut-out.
    """
    names = [_coded(path, _PANORAMA_FIELD) or _before_cutout(path) for path in paths.tolist()]
    if not all(names):
        return None
    return np.unique(np.array(names, np.dtypes.StringDType()), return_inverse=True)[1].astype(np.int64)


def frames(paths: np.ndarray) -> np.ndarray | None:
    """Frame numbers in name-coded files, float64 [N], as VPR-datasets-downloader writes those of Nordland.

    Args:
        paths: [N] files.

    Returns:
        The numbers; None where a name has none.
    """
    numbers = [_coded(path, _PANORAMA_FIELD) for path in paths.tolist()]
    return np.array(numbers, np.float64) if all(number.isdecimal() for number in numbers) else None


def tokyo_conditions(paths: np.ndarray) -> np.ndarray | None:
    """Time of day of the queries of Tokyo 24/7, text [Q]: day, sunset and night in turn, by the number of the file.

    Args:
        paths: [Q] files, 00001.jpg and so on.

    Returns:
        The names; None where a file is none of these.
    """
    found = [_TOKYO_QUERY.search(path) for path in paths.tolist()]
    numbers = [int(match[1]) for match in found if match]
    if len(numbers) < len(paths):
        return None
    return np.array([_TOKYO_CONDITIONS[(number - 1) % 3] for number in numbers])


def _coded(path: str, field: int) -> str:
    """A field of a name such as @easting@northing@...@.jpg; "" where it is another name."""
    parts = path.rsplit("/", 1)[-1].split("@")
    return parts[field] if len(parts) > _FIELDS else ""


def _before_cutout(path: str) -> str:
    match = _CUTOUT.search(path)
    return path[: match.start()] if match else ""
