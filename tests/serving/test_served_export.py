"""From a Keras model through its export and the server to the client: the same descriptor."""

import base64
from pathlib import Path

import grpc
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from starlette.testclient import TestClient
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, prediction_service_pb2_grpc

from export.converters.saved_model import SavedModelOptions, write_saved_model
from export.source import Source
from keras_sare.datasets import load_image
from keras_sare.layers import MAC
from keras_sare.models import with_whitening
from serving.client import EmbeddingClient
from serving.limits import Limits
from serving.models.manager import ModelManager
from serving.rest.app import rest_app
from serving.rpc.backend import Backend
from serving.rpc.server import ModelServer
from serving.scheduling.quota import Quota

SIZE = (24, 32)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None, None, 3), name="images")
    features = keras.layers.Conv2D(16, 3, activation="relu")(keras.layers.Rescaling(1 / 127.5, -1)(inputs))
    rng = np.random.default_rng(0)
    return with_whitening(keras.Model(inputs, MAC()(features)), rng.normal(size=(16, 8)), rng.normal(size=8), 8)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports") / "keras_sare"
    options = SavedModelOptions("float16", scales=(1.0, 0.5), version=5)
    write_saved_model(Source(model, SIZE, "tiny", "a test"), folder / "5", options)
    return folder


@pytest.fixture(scope="module")
def manager(folder):
    return ModelManager.from_folder("keras_sare", folder)


@pytest.fixture(scope="module")
def client(manager):
    server = ModelServer(manager, "127.0.0.1", 0, 2, 8)
    server.start()
    with EmbeddingClient(server.address) as client:
        client.wait_until_ready()
        yield client
    server.stop(1)


@pytest.fixture
def predict(client):
    with grpc.insecure_channel(client.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def call(signature, **inputs):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "keras_sare"
            request.model_spec.signature_name = signature
            for name, value in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            outputs = stub.Predict(request, timeout=30).outputs
            return {name: tf.make_ndarray(value) for name, value in outputs.items()}

        yield call


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


def test_the_metadata_are_answered_without_inputs(predict):
    answer = {name: values.tolist() for name, values in predict("metadata").items()}
    assert answer == {"name": [b"tiny"], "dimension": [8], "version": [5], "size": [24, 32]}


def test_a_damaged_file_is_an_invalid_argument_that_names_its_index(predict, photos):
    good = Path(photos[0]).read_bytes()
    with pytest.raises(grpc.RpcError) as caught:
        predict("serving_default", image_bytes=[good, b"", good, b"no image"])
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "image 1: empty; image 3: not a JPEG, PNG, GIF or WebP image" in caught.value.details()


def test_where_damage_is_tolerated_the_others_get_their_descriptors(client, predict, photos):
    good = Path(photos[0]).read_bytes()
    answer = predict("tolerant", image_bytes=[b"", good])
    assert answer["error"].tolist() == [b"image 0: empty", b""]
    np.testing.assert_allclose(answer["embedding"], [np.zeros(8), client.embed_files(photos[:1])[0]], atol=1e-6)


def test_rest_gives_the_same_descriptors_and_names_damaged_files(client, manager, photos):
    good = base64.b64encode(Path(photos[0]).read_bytes()).decode()
    rows = {"signature_name": "tolerant", "instances": [{"b64": good}, {"b64": ""}]}
    backend = Backend(manager, Limits(), 1, 1, None, Quota(), None)
    with TestClient(rest_app(backend)) as http:
        answer = http.post("/v1/models/keras_sare:predict", json=rows).json()["predictions"]
    backend.admission.close()
    assert [row["error"] for row in answer] == ["", "image 1: empty"]
    embeddings = [row["embedding"] for row in answer]
    np.testing.assert_allclose(embeddings, [client.embed_files(photos[:1])[0], np.zeros(8)], atol=1e-6)


@pytest.mark.parametrize("signature", ["tolerant", "serving_default"])
def test_a_stream_of_files_names_the_damaged_ones(client, model, photos, tmp_path, signature):
    (tmp_path / "cut.jpg").write_bytes(Path(photos[0]).read_bytes()[:200])
    (tmp_path / "empty.png").write_bytes(b"")
    paths = [photos[0], tmp_path / "cut.jpg", photos[1], tmp_path / "empty.png", photos[2]]
    answers = list(client.stream_files(paths, 4, signature))
    errors = [error for answer in answers for error in answer.errors]
    assert errors == ["", "truncated or damaged", "", "empty", ""]
    expected = model(np.stack([load_image(path, SIZE) for path in photos])).numpy()
    assert cosines(np.concatenate([answer.embeddings for answer in answers]), expected).min() >= 0.9999


def test_the_warm_up_requests_can_be_replayed(folder, manager):
    path = folder / "5" / "assets.extra" / "tf_serving_warmup_requests"
    shapes = {}
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        signature = request.model_spec.signature_name
        with manager.find(predict_pb2.PredictRequest(model_spec={"name": "keras_sare"}).model_spec) as version:
            embedding = version.predict(signature, request.inputs, limits=None)["embedding"]
        np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-5)
        shapes.setdefault(signature, []).append(embedding.shape)
    assert shapes == dict.fromkeys(["serving_default", "tolerant", "images", "multiscale"], [(1, 8), (2, 8), (4, 8)])
