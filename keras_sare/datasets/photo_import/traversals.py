"""Walks and drives: which photos were taken on the way of one another."""

import numpy as np

from keras_sare.datasets.photo_import.photo_list import PhotoList
from keras_sare.datasets.photo_import.sources import camera_folder

_BREAK = 1800.0
"""Seconds without a photo after which another walk begins."""


def name_traversals(photos: PhotoList) -> np.ndarray:
    """Names the walk or drive of each photo.

    It is the source's own sequence; else the photos of a folder until half an hour passes without one, named by folder
    and start; else, without times, the folder.

    Returns:
        StringDType [N].
    """
    folders = [camera_folder(name) for name in photos.names.tolist()]
    own = photos.sequences != ""
    groups = np.where(own, photos.sequences, np.array(folders, np.dtypes.StringDType()))
    number = np.unique(groups, return_inverse=True)[1]
    order = np.lexsort((photos.seconds, own, number))  # What has no time comes last.
    times = photos.seconds[order]
    same = (np.diff(number[order]) == 0) & (np.diff(own[order].astype(np.int8)) == 0)
    # No gap is known to or from a photo without time.
    late = np.diff(times) > _BREAK
    begins = np.concatenate([[True], ~same | (late & ~own[order][1:])])[: len(order)]
    untimed = np.isnan(times)
    begins[1:] |= same & (np.diff(untimed.astype(np.int8)) != 0) & ~own[order][1:]
    first = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))]
    names = np.zeros(len(photos), np.dtypes.StringDType())
    names[order] = [_name(str(groups[i]), photos.seconds[i], bool(own[i])) for i in first.tolist()]
    return names


def _name(group: str, start: float, own: bool) -> str:
    if own or np.isnan(start):
        return group
    return f"{group}/{np.datetime64(int(start), 's')}".lstrip("/")
