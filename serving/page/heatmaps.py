"""What agreed in two photos, as pictures to lay over them."""

import io
import json
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from keras_sare.datasets.images.orientation import orientation_of_bytes, turned
from keras_sare.datasets.images.pixel_limit import pixel_limit
from keras_sare.evaluation.html.overlays import glow
from keras_sare.extraction.attention.maps import contribution_map
from keras_sare.localization import IndexRecord
from keras_sare.localization.thumbnails import thumbnail
from keras_sare.models.model_file import identity_of, open_model_file, weights_digest
from keras_sare.utils.version_folders import version_folders
from serving.models.manifest import manifest_path

_TRIED = 64


class HeatMaps:
    """Shows what in a photo and in a candidate makes them similar.

    Both are looked at in the size of thumbnails, which a place index keeps of its photos.

    Args:
        model: one of `keras_sare.models.build`, or a `.keras` file with one of our poolings.
        orientation: how photos are read for it, "upright" or "stored".

    Raises:
        ValueError: nothing can be shown for such a model.
    """

    def __init__(self, model: keras.Model, orientation: str = "upright") -> None:
        self._model = model
        self._orientation = orientation
        noise = np.random.default_rng(0).integers(0, 255, (_TRIED, _TRIED, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(noise).resize((256, 192)).save(file, "PNG")
        self.of(file.getvalue(), file.getvalue())

    def of(self, photo: bytes, candidate: bytes) -> tuple[bytes, bytes]:
        """The pictures of a photo and of a candidate.

        Args:
            photo: its file, which may be a stranger's.
            candidate: its thumbnail.

        Returns:
            Two PNG files with transparency, each of the shape of its photo.

        Raises:
            ValueError: the photo cannot be read.
        """
        pictures = self._small(photo), Image.open(io.BytesIO(candidate)).convert("RGB")
        images = [self._read(picture) for picture in pictures]
        targets = [np.asarray(self._model(image[None], training=False))[0] for image in images]
        maps = [contribution_map(self._model, *pair) for pair in zip(images, reversed(targets), strict=True)]
        first, second = (glow(values, picture.size) for values, picture in zip(maps, pictures, strict=True))
        # A browser shows photos upright, and thumbnails as the model reads them.
        turn = orientation_of_bytes(photo) if self._orientation == "stored" else 1
        return _png(turned(first, turn)), _png(second)

    def _small(self, photo: bytes) -> Image.Image:
        small = b"" if _declared_pixels(photo) > pixel_limit() else thumbnail(io.BytesIO(photo), self._orientation)
        if not small:
            raise ValueError("The photo must be a JPEG, PNG, GIF or WebP file that is whole and not too large")
        return Image.open(io.BytesIO(small)).convert("RGB")

    def _read(self, picture: Image.Image) -> np.ndarray:
        """As the model takes it: some take one size alone."""
        height, width = self._model.input_shape[1:3]
        return np.asarray(picture.resize((width or picture.width, height or picture.height)), np.float32)


def open_heat_maps(path: Path, records: Iterable[IndexRecord], versions: Path) -> HeatMaps:
    """Opens the Keras model of which the descriptors of place indexes come.

    Args:
        path: of a `.keras` file.
        records: of the indexes.
        versions: folder of the served model's versions, with their manifests.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another model, or one for which nothing can be shown.
    """
    model = open_model_file(path)
    exported = _orientations(versions, weights_digest(model))
    own = identity_of(model)
    orientation = "upright"
    for record in records:
        if record.model not in {own, *exported}:
            raise ValueError(
                "`heatmaps` must be the .keras file that the indexes' model was exported of, or the one that they "
                f"were built with ({record.model_name}, {record.model[:12]}). Received: heatmaps={str(path)!r}"
            )
        read = (record.preprocessing or {}).get("orientation", orientation)
        orientation = exported.get(record.model, read)
    return HeatMaps(model, orientation)


def _orientations(versions: Path, weights: str) -> dict[str, str]:
    """Digest of each version that was exported of a model with these weights, to how it reads photos."""
    found: dict[str, str] = {}
    for folder in version_folders(versions).values():
        manifest = manifest_path(folder)
        # What is there without a manifest, or with another's, is no version of this model as far as anybody knows.
        contents = json.loads(manifest.read_bytes()) if manifest.is_file() else {}
        if contents.get("model", {}).get("weights_sha256") == weights:
            found[contents["sha256"]] = contents["preprocessing"]["orientation"]
    return found


def _declared_pixels(photo: bytes) -> int:
    try:
        with Image.open(io.BytesIO(photo)) as opened:
            return opened.width * opened.height
    except Exception:  # noqa: BLE001  # Pillow raises what it likes.
        return 0


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
