"""Copies of photos, turned upright, for programs that take pixels as they are stored."""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from keras_sare.datasets.images.orientation import picture_orientation, turn_picture

_QUALITY = 98


def stored_turned(images: Path, names: Sequence[str]) -> list[str]:
    """Which of some photos are not stored as viewers show them; headers alone are read.

    Args:
        images: their folder.
        names: relative to it.
    """
    return [name for name in names if _orientation(images / name) > 1]


@contextmanager
def upright_copies(images: Path, names: Sequence[str], folder: Path) -> Iterator[Path]:
    """Copies photos upright into a folder that exists until the block ends.

    A kill leaves it behind under a name that `keras_sare.utils.files.remove_partials` knows.

    Args:
        images: folder of the photos.
        names: relative to it, and to the folder of the copies. What EXIF says of the camera is copied too.
        folder: where the folder of the copies is made.

    Yields:
        The folder of the copies.
    """
    with TemporaryDirectory(prefix=f".{uuid.uuid4().hex[:8]}.partial.", dir=folder) as temporary:
        for name in names:
            target = Path(temporary, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy_upright(images / name, target)
        yield Path(temporary)


def _orientation(path: Path) -> int:
    with Image.open(path) as photo:
        return picture_orientation(photo)


def _copy_upright(source: Path, target: str | os.PathLike[str]) -> None:
    with Image.open(source) as photo:
        upright = turn_picture(photo).convert("RGB")
        # Of the orientation in it COLMAP takes no notice.
        exif = photo.info["exif"]
        kind = "PNG" if photo.format == "PNG" else "JPEG"
    upright.save(target, kind, exif=exif, quality=_QUALITY, subsampling=0)
