"""Writes artefacts with their manifests: measured first, and only those that meet the requirements."""

import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from export.fidelity.fidelity import Fidelity, Requirements
from export.fidelity.meter import FidelityMeter
from export.formats import FORMATS
from export.formats.format import Artefact
from export.manifest import is_of, manifest, manifest_path, write_manifest
from export.source import Source
from keras_sare.utils.error_text import one_line
from keras_sare.utils.files import atomic_path, lock, remove_partials

logger = logging.getLogger("keras_sare.export")


def claim(output: Path) -> None:
    """Makes the output folder this process's own until it ends, and deletes what a killed one left half-written.

    Raises:
        RuntimeError: another export writes there.
    """
    lock(output / ".lock")
    for folder in (output, *(output / kind for kind in FORMATS)):
        remove_partials(folder)


def write_artefacts(
    artefacts: Sequence[Artefact], source: Source, output: Path, meter: FidelityMeter, requirements: Requirements
) -> tuple[list[Fidelity], list[str]]:
    """Writes artefacts one after the other; one that falls short of the requirements or fails does not appear.

    Args:
        artefacts: of `export.artefacts.plan`.
        source: what is exported.
        output: folder of all artefacts.
        meter: measures each of them before it appears.
        requirements: that each must meet.

    Returns:
        Of those that fell short what was measured, their names marked; and a message for each that does not appear.
    """
    rejected = []
    messages = []
    for artefact in artefacts:
        target = output / artefact.name
        before = len(meter.rows)
        try:
            _write(artefact, target, source, meter, requirements)
            logger.info("Wrote %s", target)
        except Exception as error:  # Converters raise what they like.
            # The others took as long to make, and do not depend on this one.
            short = [dataclasses.replace(row, artefact=f"{row.artefact} (not written)") for row in meter.rows[before:]]
            expected = short and isinstance(error, ValueError)
            logger.warning("Not written: %s", target, exc_info=not expected)
            messages.append(f"Not written: {target}. {one_line(error)}")
            rejected += short
    return rejected, messages


def measured(output: Path, source: Source, reference: Fidelity) -> list[Fidelity]:
    """Collects what was measured of the artefacts that are in a folder, now and earlier, from their manifests.

    Args:
        output: folder of all artefacts.
        source: those of other models, or with other preprocessing, are left out.
        reference: the row of the Keras model; those that were measured in other ways are left out.
    """
    manifests = [path for kind in FORMATS for path in sorted((output / kind).glob("*.json"))]
    rows = [row for row in (_row(path, source) for path in manifests) if row is not None]
    # Other photos may have the same name and number; the Keras model's recalls tell most of them.
    alike = [row for row in rows if row.is_comparable(reference) and row.keras_recalls == reference.keras_recalls]
    if len(alike) < len(manifests):
        logger.info("Left out of the report: %d manifests of other exports", len(manifests) - len(alike))
    return alike


def _row(path: Path, source: Source) -> Fidelity | None:
    try:
        contents = json.loads(path.read_text())
        wanted = (path.parent / contents["name"]).exists() and is_of(contents, source)
        return Fidelity.from_json(json.dumps(contents["fidelity"])) if wanted else None
    except (KeyError, TypeError, ValueError):  # Of an earlier version of this program, or no manifest.
        return None


def _write(artefact: Artefact, target: Path, source: Source, meter: FidelityMeter, requirements: Requirements) -> None:
    with atomic_path(target) as path:
        artefact.write(path)
        row = meter.measure(artefact.name, artefact.kind, path)
        requirements.check(row)
        contents = manifest(source, artefact.kind, path, target.name, row, artefact.extra(path))
        manifest_path(target).unlink(missing_ok=True)
    write_manifest(target, contents)
