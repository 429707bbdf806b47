"""Splits and roles of the photos of an import."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_sare.datasets.checks.finding import ERROR, NOTE, WARNING
from keras_sare.datasets.photo_import.import_plan import ImportPlan
from keras_sare.datasets.photo_import.roles import NO_ROLE, roles_by_share, roles_by_traversal, roles_of_held_out
from keras_sare.datasets.photo_import.splits import NO_SPLIT, SPLITS, TEST, held_out, split_places, split_positions

ROLES = ("auto", "traversal", "share")
_SHOWN = 10


@dataclass(frozen=True)
class AssignmentSettings:
    """How photos are divided.

    Attributes:
        hold_out: of the test: a share; a box in degrees; or names of folders, walks or places. See `held_out`.
        val_share: share of the validation; 0 for none.
        distance: metres between splits.
        radius: metres within which a database image is right.
        roles: "traversal": queries are of other walks than the database; "share": some of each walk; "auto": the first
            where places were seen twice, else the second.
        query_share: share of the queries.
    """

    hold_out: Sequence[str] = ("0.2",)
    val_share: float = 0.15
    distance: float = 50.0
    radius: float = 25.0
    roles: str = "auto"
    query_share: float = 0.35


def assign(plan: ImportPlan, settings: AssignmentSettings) -> None:
    """Gives the photos of a plan splits and roles, and finds what is wrong with them."""
    kept = plan.kept
    photos = plan.photos.subset(kept)
    try:
        test = held_out(photos, plan.traversals[kept], settings.hold_out)
    except ValueError as error:
        folders = sorted({name.partition("/")[0] for name in photos.names.tolist() if "/" in name})
        listed = f"Folders are {', '.join(folders[:_SHOWN])}{', ...' * (len(folders) > _SHOWN)}" if folders else ""
        plan.find("hold_out", ERROR, str(error).rstrip("."), listed)
        return
    if plan.positions is None:
        plan.splits[kept] = split_places(photos.places, test, settings.val_share)
    else:
        plan.splits[kept] = split_positions(plan.positions[kept], test, settings.val_share, settings.distance)
        between = kept[plan.splits[kept] == NO_SPLIT]
        plan.reasons[between] = f"within {settings.distance:g} m of another split"
        if len(between):
            message = f"{len(between)} photos between the splits are left out, within {settings.distance:g} m of one"
            plan.find("between", NOTE, message)
    easy = [SPLITS[split] for split in range(len(SPLITS)) if _assign_roles(plan, settings, split, kept, test)]
    everything = bool((plan.splits[kept] == TEST).all())
    _check(plan, settings, ("test",) if everything else ("train", *("val",) * (settings.val_share > 0), "test"), easy)


def _assign_roles(
    plan: ImportPlan, settings: AssignmentSettings, split: int, kept: np.ndarray, test: np.ndarray | float
) -> bool:
    """Chooses the queries of a split; says whether they are of the same walks as the database."""
    of_split = plan.splits[kept] == split
    photos = kept[of_split]
    if not len(photos):
        return False
    traversals = plan.traversals[photos]
    seconds = plan.photos.seconds[photos]
    positions = None if plan.positions is None else plan.positions[photos]
    roles = None
    if positions is not None and settings.roles != "share":
        if isinstance(test, np.ndarray) and split == TEST:
            roles = roles_of_held_out(positions, traversals, test[of_split], settings.radius)
        if roles is None:
            roles = roles_by_traversal(positions, traversals, seconds, settings.radius, settings.query_share)
    same_walk = roles is None
    if roles is None:
        roles = roles_by_share(positions, traversals, seconds, settings.radius, settings.query_share)
    plan.roles[photos] = roles
    plan.reasons[photos[roles == NO_ROLE]] = "of a query's own walk, seen on no other"
    if (roles == NO_ROLE).any():
        message = f"{(roles == NO_ROLE).sum()} photos of {SPLITS[split]} near a query of their own walk are left out"
        plan.find("own_walk", NOTE, message)
    return same_walk and positions is not None


def _check(plan: ImportPlan, settings: AssignmentSettings, wanted: Sequence[str], easy: list[str]) -> None:
    """Names splits without images of a role, and those whose queries are too easy."""
    counts = plan.counts()
    empty = [
        f"{split} no photos for {' and '.join(missing)}"
        for split in wanted
        if (missing := [side for side in ("database", "queries") if not counts.get(split, {}).get(side)])
    ]
    if empty:
        others = "other shares by --hold_out and --val_share, or --roles=share"
        less = f"less --distance than {settings.distance:g} m, " if plan.positions is not None else ""
        plan.find(
            "empty_split",
            ERROR,
            f"splits must have both roles: {'; '.join(empty)}",
            f"Take more photos, {less}{others}",
        )
    if easy and settings.roles != "share":
        message = f"queries of {', '.join(easy)} are of the same walks as the database: too few places were seen twice"
        advice = "Their recall will be better than that of another day: walk the same streets again"
        plan.find("same_walk", ERROR if settings.roles == "traversal" else WARNING, message, advice)
