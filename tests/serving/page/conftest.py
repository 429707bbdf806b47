"""A server with two maps and the page, and a browser that shows it."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sare.layers import MAC
from keras_sare.localization import IndexRecord, PlaceIndex, PlaceRows
from keras_sare.models.model_file import weights_digest
from keras_sare.utils.digests import path_digest
from serving.limits import Limits
from serving.localization.maps import Maps
from serving.models.manager import ModelManager
from serving.models.manifest import manifest_path
from serving.page.site import PageOptions, page
from serving.rest.server import RestServer
from serving.rpc.credentials import Tokens
from serving.rpc.server import Access, ModelServer
from tests.serving.calibrations import calibration
from trainers.stages.chromium import Chromium, chromium, find_chromium

pytest.importorskip("lancedb")

HOSTILE_NAME = "street/<img src=x onerror=document.title='owned'>.jpg"
PHOTOS = 8
TOKEN = "0123456789abcdef" * 2
TOO_LARGE = "too large: it declares more pixels than are read"
SURE_OF_SCORES = calibration((3.0, 0.0, 0.0))
"""Right with 0.95 where the most similar photo is the same, and with 0 where it is of another colour."""


def photo(*colour: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """Of one colour, but for a black bar on its left."""
    picture = Image.new("RGB", size, colour)
    picture.paste((0, 0, 0), (0, 0, size[0] // 4, size[1]))
    picture.save(file := io.BytesIO(), "JPEG", quality=95)
    return file.getvalue()


class Colours(tf.Module):
    """Greatest red, green and blue of a photo, with the signature by which photos are located."""

    def __init__(self) -> None:
        super().__init__()
        images = keras.Input((48, 64, 3))
        self.model = keras.Model(images, MAC()(keras.layers.AveragePooling2D(8)(images)))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")], autograph=False)
    def tolerant(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Large files stand for those with too many pixels."""
        too_large = tf.strings.length(image_bytes) > 20_000
        read = tf.where(too_large, photo(0, 0, 0), image_bytes)
        images = tf.map_fn(self._decode, read, tf.TensorSpec([48, 64, 3], tf.float32))
        return {"embedding": self.model(images), "error": tf.where(too_large, TOO_LARGE, "")}

    def _decode(self, data: tf.Tensor) -> tf.Tensor:
        return tf.image.resize(tf.io.decode_image(data, channels=3, expand_animations=False), [48, 64])


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A model as a file, and as a SavedModel with a manifest that says so."""
    folder = tmp_path_factory.mktemp("colours")
    module = Colours()
    module.model.save(folder / "colours.keras")
    version = folder / "export" / "1"
    tf.saved_model.save(module, version, signatures={"tolerant": module.tolerant})
    digest = path_digest(version)
    manifest = {
        "sha256": digest,
        "model": {"weights_sha256": weights_digest(module.model)},
        "preprocessing": {"orientation": "upright"},
    }
    manifest_path(version).write_text(json.dumps(manifest))
    return SimpleNamespace(file=folder / "colours.keras", versions=version.parent, module=module, digest=digest)


@pytest.fixture(scope="session")
def places(colours: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A map in degrees of red photos, 4 m apart, and one in metres of green ones."""
    folder = tmp_path_factory.mktemp("places")
    numbers = np.arange(PHOTOS)
    red = [photo(250, 8 * i, 0) for i in numbers]
    green = [photo(0, 250, 8 * i) for i in numbers]
    names = [HOSTILE_NAME, *(f"walk/{i}.jpg" for i in numbers[1:])]
    degrees = np.array([51.5, -0.11]) + numbers[:, None] * [0, 0.00006]
    metres = 20.0 * numbers[:, None] + [100, 700]
    for name, kind, files, positions in (("city", "degrees", red, degrees), ("town", "metres", green, metres)):
        rows = PlaceRows(
            names=names,
            descriptors=colours.module.tolerant(tf.constant(files))["embedding"].numpy(),
            positions=positions,
            headings=np.where(numbers, 40.0 * numbers, np.nan),
            timestamps=["2026-05-01T10:00:00" if i else "" for i in numbers],
            thumbnails=files,
        )
        record = IndexRecord(colours.digest, "colours", 3, kind, calibration=SURE_OF_SCORES)
        PlaceIndex.create(folder / name, record, [rows])
    return [str(folder / name) for name in ("city", "town")]


@pytest.fixture(scope="session")
def manager(colours: SimpleNamespace) -> ModelManager:
    return ModelManager.from_folder("colours", colours.versions)


@contextmanager
def serving(
    manager: ModelManager, places: list[str], options: PageOptions, versions: Path, **more: Any
) -> Iterator[str]:
    """Address of the page of a server."""
    limits = Limits(message_bytes=2**20)
    server = ModelServer(manager, port=0, limits=limits, maps=(Maps(places), "colours"), **more)
    rest = RestServer(server.backend, port=0, more=[page(options, server.backend, versions)])
    server.add(rest)
    server.start()
    yield f"{rest.address}/"
    server.stop(grace=0)


@pytest.fixture(scope="session")
def site(
    manager: ModelManager, colours: SimpleNamespace, places: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SimpleNamespace]:
    """Address of a page that offers all, and the file of feedback."""
    feedback = tmp_path_factory.mktemp("site") / "feedback.jsonl"
    options = PageOptions(heatmaps=str(colours.file), feedback=str(feedback))
    with serving(manager, places, options, colours.versions) as address:
        yield SimpleNamespace(address=address, feedback=feedback)


@pytest.fixture(scope="session")
def guarded(manager: ModelManager, colours: SimpleNamespace, places: list[str]) -> Iterator[SimpleNamespace]:
    """The same of a server that asks for a token, and offers nothing more."""
    access = Access(tokens=Tokens({"somebody": TOKEN}))
    with serving(manager, places, PageOptions(), colours.versions, access=access) as address:
        yield SimpleNamespace(address=address)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    program = find_chromium()
    if program is None:
        pytest.skip("there is no chromium: install Debian's package of that name to see the page drawn")
    with chromium(program) as page:
        yield page
