"""From a Keras model through its export and the server to the client: the same descriptor."""

import keras
import numpy as np
import pytest
from PIL import Image

from export.saved_model import export_saved_model
from keras_sare.datasets import load_image
from keras_sare.layers import MAC
from keras_sare.models import with_whitening
from serving.client import EmbeddingClient
from serving.manager import ModelManager
from serving.server import ModelServer

SIZE = (24, 32)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None, None, 3), name="images")
    features = keras.layers.Conv2D(16, 3, activation="relu")(keras.layers.Rescaling(1 / 127.5, -1)(inputs))
    rng = np.random.default_rng(0)
    return with_whitening(keras.Model(inputs, MAC()(features)), rng.normal(size=(16, 8)), rng.normal(size=8), 8)


@pytest.fixture(scope="module")
def client(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports") / "keras_sare"
    export_saved_model(model, SIZE, folder)
    server = ModelServer(ModelManager.from_folder("keras_sare", folder), "127.0.0.1", 0, 2, 8)
    server.start()
    with EmbeddingClient(server.address) as client:
        client.wait_until_ready()
        yield client
    server.stop(1)


@pytest.fixture
def photos(tmp_path):
    paths = []
    for i, (size, suffix) in enumerate([((40, 30), "jpg"), ((64, 48), "png"), ((32, 24), "jpg")]):
        blocks = np.random.default_rng(i).integers(0, 256, (5, 7, 3), dtype=np.uint8)
        paths.append(str(tmp_path / f"{i}.{suffix}"))
        Image.fromarray(blocks).resize(size).save(paths[-1])
    return paths


def cosines(a, b):
    return np.sum(a * b, axis=1)


def test_photos_sent_as_files_get_the_keras_models_descriptors(client, model, photos):
    expected = model(np.stack([load_image(path, SIZE) for path in photos])).numpy()
    assert cosines(client.embed_files(photos), expected).min() >= 0.9999


def test_photos_sent_as_tensors_get_the_keras_models_descriptors(client, model, photos):
    images = np.stack([load_image(path, (36, 44)) for path in photos])
    assert cosines(client.embed_images(images), model(images).numpy()).min() >= 0.9999
