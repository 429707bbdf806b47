"""What becomes of each photo of an import: its position, its walk, and why it is left out."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_sare.datasets.checks.finding import ERROR, WARNING, Finding
from keras_sare.datasets.images.same_photos import first_names
from keras_sare.datasets.photo_import.gps_faults import faulty_positions
from keras_sare.datasets.photo_import.photo_list import PhotoList
from keras_sare.datasets.photo_import.planar import metric_positions
from keras_sare.datasets.photo_import.roles import DATABASE, QUERY
from keras_sare.datasets.photo_import.splits import NO_SPLIT, SPLITS
from keras_sare.datasets.photo_import.traversals import name_traversals

_SHOWN = 3
_STACKED = (10, 0.2)
"""Photos at one very position, and their share of all, that are more than chance."""


@dataclass
class ImportPlan:
    """N photos, and what is decided of them.

    Attributes:
        root: their folder, for messages.
        photos: all that can be read.
        traversals: StringDType [N], names of walks; of places where there are no positions.
        positions: float64 [N, 2] or [N, 3] metres, NaN where unknown; None where each folder is a place.
        system: of the positions.
        reasons: StringDType [N], why a photo is left out; empty where it is not.
        splits: int8 [N], `NO_SPLIT` at first.
        roles: int8 [N], `DATABASE` at first.
        findings: all that is wrong.
        unreadable: StringDType [M], files that are no images, which are not among the photos.
    """

    root: str
    photos: PhotoList
    traversals: np.ndarray
    positions: np.ndarray | None
    system: str
    reasons: np.ndarray
    splits: np.ndarray
    roles: np.ndarray
    findings: list[Finding]
    unreadable: np.ndarray

    def left_out(self) -> dict[str, str]:
        """Why, by the name of the file, for all that is not listed."""
        indices = np.flatnonzero(self.reasons != "")
        reasons = dict(zip(self.photos.names[indices].tolist(), self.reasons[indices].tolist(), strict=True))
        return reasons | dict.fromkeys(self.unreadable.tolist(), "no image that can be read")

    @property
    def kept(self) -> np.ndarray:
        """Indices of the photos that are not left out."""
        return np.flatnonzero(self.reasons == "")

    def counts(self) -> dict[str, dict[str, int]]:
        """Photos by split and side, those splits that have any."""
        return {
            split: {side: len(self.members(split, role)) for side, role in (("database", DATABASE), ("queries", QUERY))}
            for number, split in enumerate(SPLITS)
            if (self.splits[self.kept] == number).any()
        }

    def members(self, split: str, role: int) -> np.ndarray:
        """Indices of the photos of a split and a role."""
        return np.flatnonzero((self.reasons == "") & (self.splits == SPLITS.index(split)) & (self.roles == role))

    def find(self, kind: str, level: str, message: str, advice: str = "") -> None:
        """Adds a finding."""
        self.findings.append(Finding(kind, level, self.root, message, advice))


def plan_import(
    root: str | os.PathLike[str],
    names: np.ndarray,
    photos: PhotoList,
    source: str,
    findings: list[Finding],
    max_speed: float,
) -> ImportPlan:
    """Begins a plan: names walks, leaves out photos without a position or with a wrong one, and brings all to metres.

    Args:
        root: the folder.
        names: StringDType, all files of the folder that should be photos.
        photos: those that are, as one of `SOURCES` gives them.
        source: its name; "folders" has places instead of positions.
        findings: what was found so far.
        max_speed: metres a second, above which a walk jumps.
    """
    count = len(photos)
    plan = ImportPlan(
        root=str(root),
        photos=photos,
        traversals=photos.places,
        positions=None,
        system="names of places",
        reasons=np.zeros(count, np.dtypes.StringDType()),
        splits=np.full(count, NO_SPLIT, np.int8),
        roles=np.full(count, DATABASE, np.int8),
        findings=findings,
        unreadable=names[~np.isin(names, photos.names)],
    )
    if source == "folders":
        plan.reasons[photos.places == ""] = "in no folder of a place, into which they must be moved"
    else:
        plan.traversals = name_traversals(photos)
        plan.reasons = faulty_positions(photos, plan.traversals, max_speed)
        _locate(plan)
    _name_left_out(plan, source)
    return plan


def _locate(plan: ImportPlan) -> None:
    kept = plan.kept
    if not len(kept):
        return
    positions, plan.system = metric_positions(plan.photos.subset(kept))
    plan.positions = np.full((len(plan.photos), positions.shape[1]), np.nan)
    plan.positions[kept] = positions
    most = int(np.unique(positions.round(2), axis=0, return_counts=True)[1].max())
    least, share = _STACKED
    if most >= max(least, share * len(kept)):
        message = f"{most} of {len(kept)} photos have one and the same position"
        plan.find("stacked", WARNING, message, "Check it: a program may have written the position of a town")


def _name_left_out(plan: ImportPlan, source: str) -> None:
    names = plan.photos.names
    if len(names) and not len(plan.kept):
        message = f"none of {len(names)} photos has a position that can be used (looked for: {source})"
        plan.find("no_positions", ERROR, message, _advice(plan.root, source))
        return
    for reason in sorted(set(plan.reasons.tolist()) - {""}):
        which = names[plan.reasons == reason]
        message = f"{len(which)} of {len(names)} photos are left out: {reason} ({first_names(which)})"
        plan.find("left_out", WARNING, message)


def _advice(root: str, source: str) -> str:
    """What else may say where photos were taken."""
    if source != "exif":
        return "See the warnings, or name another --source"
    tracks = sorted(str(path) for path in Path(root).rglob("*.gpx"))
    track = (
        f"Take the track that lies there, --gpx={','.join(tracks[:_SHOWN])}" if tracks else "Give a track, --gpx=FILE"
    )
    return (
        f"{track}, or say by --source=folders that each folder is a place; photos that messengers sent have lost their "
        "GPS: copy them from the camera"
    )
