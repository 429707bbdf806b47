import io
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export import saved_model
from export.saved_model import export_saved_model, size_of
from keras_sare.datasets import decode_image
from keras_sare.layers import NetVLAD
from keras_sare.models import initialise_netvlad, with_whitening

SIZE = (24, 32)


def photo(seed, size, file_format):
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(buffer, file_format)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None, None, 3), name="images")
    features = keras.layers.Conv2D(8, 3, name="conv")(keras.layers.Rescaling(1 / 255)(inputs))
    netvlad = keras.Model(inputs, NetVLAD(4, name="netvlad")(features))
    initialise_netvlad(netvlad, [np.random.default_rng(0).integers(0, 255, (4, *SIZE, 3)).astype("float32")])
    rng = np.random.default_rng(0)
    return with_whitening(netvlad, rng.normal(size=(32, 8)), rng.normal(size=8), 8)


@pytest.fixture(scope="module")
def export(model, tmp_path_factory):
    return export_saved_model(model, SIZE, tmp_path_factory.mktemp("exports") / "keras_sare")[0]


def test_encoded_images_of_any_size_give_the_keras_models_descriptors(model, export):
    files = [photo(1, (40, 30), "JPEG"), photo(2, (20, 50), "PNG"), photo(3, (32, 24), "JPEG")]
    signature = tf.saved_model.load(str(export)).signatures["serving_default"]
    served = signature(image_bytes=tf.constant(files))["embedding"].numpy()
    pixels = [tf.io.decode_jpeg(f, channels=3, dct_method="INTEGER_ACCURATE") for f in files]
    resized = np.stack([tf.image.resize(p, SIZE, antialias=True) for p in pixels])
    expected = model(resized).numpy()
    assert served.shape == (3, 8)
    assert np.sum(served * expected, axis=1).min() >= 0.9999


def test_image_tensors_are_used_as_they_are(model, export):
    images = np.random.default_rng(4).integers(0, 256, (2, 40, 28, 3)).astype("float32")
    signature = tf.saved_model.load(str(export)).signatures["images"]
    np.testing.assert_allclose(signature(images=images)["embedding"], model(images), atol=1e-6)


def test_weights_are_stored_once(model, export):
    stored = sum(path.stat().st_size for path in (export / "variables").glob("variables.data*"))
    weights = 4 * model.count_params()
    assert weights <= stored < weights + 4096


def test_folder_is_named_by_its_version_for_a_server(export):
    assert export.name == "1"
    assert (export / "saved_model.pb").is_file()


def test_existing_version_is_not_overwritten_and_the_next_free_one_is_named(model, export):
    before = (export / "saved_model.pb").stat().st_mtime_ns
    with pytest.raises(FileExistsError, match="`version` must be new.*Export version 2 instead. Received: version=1"):
        export_saved_model(model, SIZE, export.parent, version=1)
    assert (export / "saved_model.pb").stat().st_mtime_ns == before


def test_export_that_differs_from_the_model_is_refused_and_leaves_nothing(model, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_model, "smallest_cosine", lambda *_: 0.99)
    with pytest.raises(RuntimeError, match="must agree with the Keras model .* Received: cosine=0.990000"):
        export_saved_model(model, SIZE, tmp_path / "exports")
    assert list((tmp_path / "exports").iterdir()) == []


def test_model_without_clusters_warns(tmp_path):
    inputs = keras.Input((None, None, 3))
    with pytest.warns(UserWarning, match="is being exported without clusters"):
        export_saved_model(keras.Model(inputs, NetVLAD(2)(inputs)), SIZE, Path(tmp_path))


def test_with_a_limit_of_the_longer_side_photos_keep_their_aspect_ratio(model, tmp_path):
    target, cosine = export_saved_model(model, 40, tmp_path / "exports")
    assert cosine >= 0.9999
    files = [photo(1, (80, 60), "JPEG"), photo(2, (30, 100), "PNG"), photo(3, (20, 16), "JPEG")]
    served = tf.saved_model.load(str(target)).signatures["serving_default"](image_bytes=tf.constant(files))
    pixels = [decode_image(tf.constant(file), 40)[None] for file in files]
    assert [one.shape[1:3] for one in pixels] == [(30, 40), (40, 12), (16, 20)]
    np.testing.assert_allclose(served["embedding"], np.concatenate([model(one) for one in pixels]), atol=1e-5)


def test_size_is_that_of_the_run():
    assert size_of({"image_size": ["480", "640"], "dim": 4096}) == (480, 640)
    assert size_of({"longer_side": 362, "whitening_side": 1024}) == 1024
