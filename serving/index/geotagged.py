"""Folders of photos without any list, that know themselves where they were taken."""

from pathlib import Path

import numpy as np

from keras_sare.datasets import ImageSet, earth_centred
from keras_sare.datasets.checks.finding import ERROR, log_findings
from keras_sare.datasets.photo_import import sources
from keras_sare.datasets.photo_import.import_plan import plan_import
from keras_sare.datasets.photo_import.mapillary import DESCRIPTION, read_mapillary
from keras_sare.datasets.photo_import.photo_files import find_photos

_MAX_SPEED = 150 / 3.6
"""Metres a second above which a position is a jump, as of `trainers.import_photos`."""


def geotagged_photos(root: Path) -> ImageSet:
    """The photos of a folder with their latitudes and longitudes, headings, times and walks.

    Positions come from EXIF, from Mapillary's description where that lies in the folder, or from names that begin with
    @. Photos without a position, or with one that cannot be right, are left out, and the log says which.

    Args:
        root: the folder; folders below count.

    Raises:
        FileNotFoundError: it is no folder.
        ValueError: no photo has a position.
    """
    names, findings = find_photos(root)
    source = sources.likely_source(root, names, ())
    if source == "mapillary":
        photos, found = read_mapillary(root / DESCRIPTION, names)
    else:
        photos, found = (sources.from_names if source == "names" else sources.from_exif)(root, names)
    plan = plan_import(root, names, photos, source, [*findings, *found], _MAX_SPEED)
    if errors := [finding for finding in plan.findings if finding.level == ERROR]:
        raise ValueError(" ".join(str(error) for error in errors))
    log_findings(plan.findings)
    there = plan.photos.subset(plan.kept)
    return ImageSet(
        np.strings.add(f"{root}/", there.names),
        positions=earth_centred(there.latitudes, there.longitudes),
        coordinates=np.stack([there.latitudes, there.longitudes], axis=1),
        headings=None if np.isnan(there.headings).all() else there.headings,
        timestamps=np.array([_time(second) for second in there.seconds.tolist()], np.dtypes.StringDType()),
        traversals=plan.traversals[plan.kept],
    )


def _time(second: float) -> str:
    return "" if np.isnan(second) else str(np.datetime64(int(second), "s"))
