"""Whether a version folder is what its export wrote: the manifest beside it says so."""

import json
import logging
from pathlib import Path

from keras_sare.utils.digests import path_digest

logger = logging.getLogger(__name__)


def check_manifest(folder: Path) -> str:
    """Compares a version folder with the SHA-256 in its manifest, `FOLDER/1.json` beside `FOLDER/1`.

    A SavedModel is code: its graph can read and write files. A folder without a manifest is warned of.

    Args:
        folder: of the version.

    Returns:
        The SHA-256 of the folder.

    Raises:
        ValueError: the folder is not what the manifest describes, or the manifest is none.
    """
    manifest = manifest_path(folder)
    if not manifest.is_file():
        logger.warning("There is no manifest %s: nothing tells whether %s is as it was exported", manifest, folder)
        return path_digest(folder)
    expected = _digest_in(manifest)
    received = path_digest(folder)
    if expected != received:
        raise ValueError(
            f"`folder` must be as its manifest {manifest} describes it; it was damaged or changed since. Export the "
            f"model again, or copy folder and manifest again. Received: folder={folder}, whose SHA-256 is {received} "
            f"instead of {expected}"
        )
    return received


def manifest_path(folder: Path) -> Path:
    """Where the manifest of a version folder lies: `1.json` beside `1`."""
    return folder.with_suffix(".json")


def _digest_in(manifest: Path) -> str:
    try:
        return str(json.loads(manifest.read_bytes())["sha256"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"`folder` must have a manifest with `sha256` beside it, as `python -m export` writes it; export the model "
            f"again. Received: {manifest}, which is no such manifest"
        ) from error
