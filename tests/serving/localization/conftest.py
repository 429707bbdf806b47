"""A server with two maps of a town, and the photos that are asked about."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export.converters.embedding_module import EmbeddingModule
from export.source import Source
from keras_sare.layers import MAC
from keras_sare.localization import IndexRecord, PhotoModel, PlaceIndex, PlaceRows
from keras_sare.localization.photo_models import open_photo_model
from serving.client import EmbeddingClient
from serving.localization.maps import Maps
from serving.models.manager import ModelManager
from serving.rest.server import RestServer
from serving.rpc.server import ModelServer
from tests.serving.calibrations import calibration

pytest.importorskip("lancedb")

PLACES = 20
SIGNATURES = ("serving_default", "tolerant", "images")


def picture(place: int, seed: int) -> Image.Image:
    """A photo of a place, of blocks that tell it, with noise of its own."""
    looks = np.random.default_rng(place).integers(0, 255, (6, 8, 3))
    noisy = looks + np.random.default_rng(1000 + seed).normal(0, 5, looks.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).resize((64, 48), 0)


def encoded(image: Image.Image, kind: str = "JPEG", **how: Any) -> bytes:
    image.save(file := io.BytesIO(), kind, **how)
    return file.getvalue()


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an exported model's versions, without the checks and warm-up requests that take an export its time."""
    keras.utils.set_random_seed(3)
    images = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(32, 8, strides=8, activation="relu")(keras.layers.Rescaling(1 / 64, -2)(images))
    source = Source(keras.Model(images, MAC()(features)), (48, 64), "small_mac", "a test")
    folder = tmp_path_factory.mktemp("exports") / "small"
    module = EmbeddingModule(source)
    tf.saved_model.save(module, folder / "5", {name: module.functions[name] for name in SIGNATURES})
    return folder


@pytest.fixture(scope="session")
def model(exported: Path) -> PhotoModel:
    return open_photo_model(exported)


def rows(model: PhotoModel, places: range, kind: str) -> PlaceRows:
    """Two photos of each place, 50 m apart from the next."""
    numbers = np.arange(places.start, places.stop).repeat(2)
    files = [encoded(picture(number, copy)) for copy, number in enumerate(numbers.tolist())]
    step = [50.0, 1.0] if kind == "metres" else [0.0005, 0.0001]
    return PlaceRows(
        names=[f"walk/{number} & more/{copy}.jpg" for copy, number in enumerate(numbers)],
        descriptors=model.extract(files)[0],
        positions=numbers[:, None] * np.array([step]) + (0 if kind == "metres" else 51),
        headings=np.where(numbers % 2, 90.0, np.nan),
        timestamps=[f"2020-01-01T{number:02}:00" for number in numbers],
        thumbnails=files,
    )


@pytest.fixture(scope="session")
def folders(model: PhotoModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A calibrated map in degrees, and one in metres of further places."""
    folder = tmp_path_factory.mktemp("maps")
    for name, kind, places in (("town", "degrees", range(PLACES)), ("harbour", "metres", range(PLACES, PLACES + 5))):
        photos = rows(model, places, kind)
        record = IndexRecord(model.identity, "small_mac", photos.descriptors.shape[1], kind)
        PlaceIndex.create(folder / name, record, [photos])
    PlaceIndex(folder / "town").calibrate(calibration((2.0, 0.1, 0.5), 0.5))
    return {name: folder / name for name in ("town", "harbour")}


@pytest.fixture(scope="session")
def manager(exported: Path) -> ModelManager:
    return ModelManager.from_folder("small", exported)


@pytest.fixture(scope="session")
def served(manager: ModelManager, folders: dict[str, Path]) -> Iterator[SimpleNamespace]:
    """The server's maps, an HTTP client and a gRPC client."""
    maps = Maps([f"{name}={folder}" for name, folder in folders.items()])
    server = ModelServer(manager, port=0, maps=(maps, "small"))
    rest = RestServer(server.backend, port=0)
    server.add(rest)
    server.start()
    with httpx.Client(base_url=rest.address, timeout=60) as http, EmbeddingClient(server.address, "small") as client:
        yield SimpleNamespace(maps=maps, server=server, http=http, client=client)
    server.stop(grace=5)
