"""The stages of `trainers.import_photos`: where photos were taken, what is wrong with that, splits, roles, the list."""

import shlex
from pathlib import Path

import numpy as np

from keras_sare.datasets.checks.finding import ERROR, NOTE, WARNING, Finding
from keras_sare.datasets.photo_import import sources
from keras_sare.datasets.photo_import.assignment import AssignmentSettings, assign
from keras_sare.datasets.photo_import.import_plan import ImportPlan, plan_import
from keras_sare.datasets.photo_import.mapillary import DESCRIPTION, read_mapillary
from keras_sare.datasets.photo_import.photo_files import PICTURE, find_photos
from keras_sare.datasets.photo_import.photo_list import PhotoList
from keras_sare.datasets.photo_import.places_file import write_places, write_table
from keras_sare.datasets.photo_import.roles import DATABASE, QUERY
from keras_sare.evaluation.plots.split_map import draw_splits
from keras_sare.utils.files import check_writable_folder
from trainers.config import ImportConfig

PLACES = "places.csv"
LEFT_OUT = "left_out.csv"
_TITLES = {ERROR: "Nothing was written: correct this", WARNING: "Warnings", NOTE: "Good to know"}
_FEW = 5000
"""Photos below which the recipe for few photos is named."""


def import_folder(config: ImportConfig) -> tuple[str, bool]:
    """Makes a list of places of a folder of photos, unless something is wrong that must be corrected.

    Returns:
        What was done and found, as text, and whether nothing could be written.

    Raises:
        FileNotFoundError: there is no such folder.
        OSError: the output cannot be written.
    """
    root = Path(config.root)
    if not root.is_dir():
        raise FileNotFoundError(f"`root` must be the folder of the photos. Received: root={config.root!r}")
    output = Path(config.output or config.root)
    check_writable_folder(output)
    plan = _plan(config, root)
    if (output / PLACES).exists() and not config.overwrite:
        plan.find("exists", ERROR, f"{output / PLACES} is there already", "--overwrite replaces it")
    if len(plan.kept):
        names = ("hold_out", "val_share", "distance", "radius", "roles", "query_share")
        assign(plan, AssignmentSettings(**{name: getattr(config, name) for name in names}))
    fails = any(one.level == ERROR for one in plan.findings)
    if not fails:
        _write(plan, root, output)
    return _text(plan, root, output, fails), fails


def _plan(config: ImportConfig, root: Path) -> ImportPlan:
    names, findings = find_photos(root)
    source = config.source or sources.likely_source(root, names, config.gpx)
    photos = PhotoList.of(names)
    try:
        photos, found = _read(config, root, names, source)
        findings += found
    except (OSError, ValueError) as error:
        findings.append(Finding(source, ERROR, str(root), str(error).rstrip("."), "Correct it"))
    return plan_import(root, names, photos, source, findings, config.max_speed / 3.6)


def _read(config: ImportConfig, root: Path, names: np.ndarray, source: str) -> tuple[PhotoList, list[Finding]]:
    if source == "gpx":
        return sources.from_gpx(root, names, config.gpx, config.clock_seconds())
    if source == "mapillary":
        return read_mapillary(root / DESCRIPTION, names)
    read = {"exif": sources.from_exif, "names": sources.from_names, "folders": sources.from_folders}
    return read[source](root, names)


def _write(plan: ImportPlan, root: Path, output: Path) -> None:
    images = plan.photos.names
    if not (output.exists() and root.samefile(output)):
        images = np.strings.add(f"{root.resolve()}/", images)
    write_table(output / LEFT_OUT, ("image", "reason"), sorted(plan.left_out().items()))
    if plan.positions is not None:
        _draw(plan, plan.positions, output)
    # Last: a folder with this file is complete.
    write_places(output / PLACES, plan, images)


def _draw(plan: ImportPlan, positions: np.ndarray, output: Path) -> None:
    planar = positions.shape[1] == 2
    points = positions if planar else np.stack([plan.photos.longitudes, plan.photos.latitudes], axis=1)
    groups = {
        split: {side: points[plan.members(split, role)] for side, role in (("database", DATABASE), ("queries", QUERY))}
        for split in plan.counts()
    }
    left_out = points[(plan.reasons != "") & np.isfinite(points).all(axis=1)]
    draw_splits(output / PICTURE, groups, left_out, "m" if planar else "degrees")


def _text(plan: ImportPlan, root: Path, output: Path, fails: bool) -> str:
    parts = [f"# {root}"]
    for level, title in _TITLES.items():
        of_level = [one for one in plan.findings if one.level == level]
        if of_level:
            parts.append("\n".join([f"## {title}", *(f"- [{one.kind}] {one}" for one in of_level)]))
    if not fails:
        parts += [_table(plan), _written(plan, output), _next(plan, output)]
    return "\n\n".join(parts)


def _table(plan: ImportPlan) -> str:
    rows = [f"## {len(plan.kept)} of {len(plan.photos)} photos", "", "| split | database | queries |", "|---|---|---|"]
    rows += [f"| {split} | {sides['database']} | {sides['queries']} |" for split, sides in plan.counts().items()]
    return "\n".join(rows)


def _written(plan: ImportPlan, output: Path) -> str:
    lines = ["## Written", f"- {output / PLACES} (positions: {plan.system})"]
    lines.append(f"- {output / LEFT_OUT}: the other photos, and why")
    if plan.positions is not None:
        lines.append(f"- {output / PICTURE}: look at this map first")
    return "\n".join(lines)


def _next(plan: ImportPlan, output: Path) -> str:
    """The commands that come next, as they can be copied."""
    root = f"--root={shlex.quote(str(output))}"
    run = f"runs/{shlex.quote(output.resolve().name)}"
    recipe = " --recipe=few_photos" if len(plan.kept) < _FEW else ""
    commands = [f"python -m trainers.doctor {root}"]
    if "train" in plan.counts():
        commands.append(f"python -m trainers.pitts {root} --output={run}{recipe}")
    commands.append(f"python -m trainers.evaluate {root} --models={run} --output=evaluation")
    return "\n".join(["## Next", *(f"    {command}" for command in commands)])
