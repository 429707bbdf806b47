"""How images are resized belongs to a model's preprocessing, which every reader of image files honours."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export import localise
from export.converters.embedding_module import EmbeddingModule
from export.manifest import manifest, manifest_path
from export.reading import Reading, reading_beside
from export.source import Source, read_size
from keras_sare.datasets import ShorterSide, fitted_size, image_batches, load_image
from keras_sare.datasets.images.image_sizes import image_sizes
from keras_sare.extraction.landmark_descriptors import extract_images
from keras_sare.layers import MAC, ImagePreprocessing
from keras_sare.models import antialiases
from keras_sare.training import PlaceSettings, open_feature_store

SIZES = [(100, 173), 217, ShorterSide(131)]


@pytest.fixture
def photos(real_data):
    """Real photos; no size of `SIZES` divides theirs."""
    return sorted(map(str, real_data.glob("kitay_gorod/images/*.jpg")))[:2]


@pytest.fixture
def small(real_data, tmp_path):
    """A photo that `SIZES` enlarge, but for the limit of the longer side."""
    [path] = sorted(real_data.glob("kitay_gorod/images/*.jpg"))[:1]
    Image.open(path).resize((90, 121)).save(tmp_path / "small.png")
    return str(tmp_path / "small.png")


def interpolated(pixels, height, width):
    """PyTorch's interpolate(mode="bilinear", align_corners=False, antialias=False), by its documented formula."""
    for axis, side in enumerate((height, width)):
        length = pixels.shape[axis]
        at = np.maximum((np.arange(side) + 0.5) * length / side - 0.5, 0)
        low = np.floor(at).astype(int)
        share = (at - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        following = np.take(pixels, np.minimum(low + 1, length - 1), axis)
        pixels = np.take(pixels, low, axis) * (1 - share) + following * share
    return pixels


def expected_size(path, size):
    [(height, width)] = image_sizes([path]).tolist()
    if isinstance(size, ShorterSide):
        return int(size * height / min(height, width)), int(size * width / min(height, width))
    return fitted_size(height, width, size) if isinstance(size, int) else size


@pytest.mark.parametrize("size", SIZES)
def test_without_antialiasing_images_are_interpolated_as_pytorch_does(photos, small, size):
    for path in (*photos, small):
        expected = interpolated(load_image(path).astype(np.float64), *expected_size(path, size))
        image = load_image(path, size, antialias=False)
        np.testing.assert_allclose(image, expected, atol=2e-2)  # float32, of 0..255.
        [(_, [batched])] = image_batches([path], size, 1, antialias=False)
        np.testing.assert_array_equal(batched, image)
    antialiased = [load_image(path, size) - load_image(path, size, antialias=False) for path in photos]
    assert min(np.abs(difference).max() for difference in antialiased) > 20


def test_shorter_side_is_antialiased_by_default(photos, small):
    for path in (*photos, small):
        height, width = expected_size(path, ShorterSide(131))
        assert min(height, width) == 131
        expected = Image.open(path).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        # Pillow rounds after each of its two passes.
        np.testing.assert_allclose(load_image(path, ShorterSide(131)), expected, atol=1.01)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_device_resizes_as_keras_sare_does(photos, small, size, antialias):
    for path in (*photos, small):
        photo = localise.read_photo(path, **Reading(size, antialias=antialias).arguments())
        difference = np.abs(photo[0] - load_image(path, size, antialias=antialias))
        rounded = antialias and not isinstance(size, tuple | ShorterSide)
        assert difference.max() <= (1 if rounded else 2e-2)  # Halves may be rounded either way.
        assert difference.mean() < 1e-3


def test_longer_side_is_bounded_where_the_shorter_one_is_given(tmp_path):
    Image.effect_noise((3000, 2), 50).convert("RGB").save(tmp_path / "line.png")
    assert load_image(tmp_path / "line.png", ShorterSide(20)).shape == (20, 160, 3)
    assert localise.read_photo(tmp_path / "line.png", [20], shorter=True).shape == (1, 20, 160, 3)


def test_boxes_and_training_take_no_shorter_side(photos, model, tmp_path):
    with pytest.raises(ValueError, match=r"`size` must limit the longer side.* Received: size=ShorterSide\(131\)"):
        load_image(photos[0], ShorterSide(131), (0, 0, 9, 9))
    paths = {"train": np.array(photos, np.dtypes.StringDType())}
    with pytest.raises(ValueError, match=r"in training. Received: size=ShorterSide\(131\)"):
        open_feature_store(paths, model, ShorterSide(131), PlaceSettings(), tmp_path, 0)


@pytest.fixture(scope="module")
def model():
    """For weights that want images without antialiasing: their descriptors are of edges."""
    images = keras.Input((None, None, 3))
    prepared = ImagePreprocessing([120.0] * 3, [60.0] * 3, antialias=False)(images)
    edges = keras.layers.Conv2D(16, 3, activation="relu", kernel_initializer=keras.initializers.HeNormal(seed=0))
    return keras.Model(images, MAC(name="mac")(edges(prepared)), name="edges")


def test_antialiasing_is_kept_in_the_model(model, whitened_model, tmp_path):
    model.save(tmp_path / "model.keras")
    assert not antialiases(keras.saving.load_model(tmp_path / "model.keras"))
    assert antialiases(whitened_model)
    assert antialiases(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))


@pytest.mark.parametrize("size", SIZES)
def test_all_readers_resize_as_the_model_wants(model, photos, size, tmp_path):
    images = [interpolated(load_image(path), *expected_size(path, size)).astype("float32") for path in photos]
    expected = np.concatenate([model(image[None]).numpy() for image in images])
    source = Source(model, size, "edges", "a test")
    served = EmbeddingModule(source).functions["serving_default"]
    files = tf.stack([tf.io.read_file(path) for path in photos])
    described = [served(image_bytes=files)["embedding"].numpy()]
    if isinstance(size, tuple):
        paths = np.array(photos, np.dtypes.StringDType())
        inputs, _ = open_feature_store({"test": paths}, model, size, PlaceSettings(), tmp_path, 0)
        described.append(model(inputs["test"].gather(tf.range(len(photos)))).numpy())
    elif not isinstance(size, ShorterSide):
        described.append(extract_images(model, np.array(photos), "photos", longer_side=size, folder=tmp_path))
    for descriptors in described:
        assert np.sum(descriptors * expected, axis=1).min() > 0.99999
    antialiased = np.concatenate([model(load_image(path, size)[None]).numpy() for path in photos])
    assert np.sum(antialiased * expected, axis=1).min() < 0.999


@pytest.mark.parametrize("size", SIZES)
def test_manifest_says_how_images_are_resized_and_the_index_follows(model, size, tmp_path):
    path = tmp_path / "float32.tflite"
    path.write_bytes(b"")
    fidelity = type("Nothing", (), {"to_json": lambda self: "{}"})()
    written = manifest(Source(model, size, "edges", "a test"), "tflite", path, path.name, fidelity, {})
    assert "not antialiased" in written["preprocessing"]["resize"]["filter"]
    manifest_path(path).write_text(json.dumps(written))
    found = reading_beside(path)
    assert (found.size, type(found.size), found.antialias) == (size, type(size), False)


def test_shorter_side_is_read_from_text():
    size = read_size(["shorter:480"])
    assert (size, type(size)) == (480, ShorterSide)
    with pytest.raises(ValueError, match="or shorter:NUMBER for the shorter side"):
        read_size(["shorter:x"])
