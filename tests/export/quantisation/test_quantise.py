import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from export.converters.tflite_convert import float32_bytes
from export.quantisation import quantise, rounded_model
from export.quantisation.quantise import balanced, small
from export.source import Source
from keras_sare.layers import MAC, NetVLAD
from keras_sare.models import initialise_netvlad, with_whitening

SIZE = (32, 48)
rng = np.random.default_rng(0)
PHOTOS = [np.kron(rng.integers(0, 256, (4, 8, 12, 3)), np.ones((1, 4, 4, 1))).astype("float32") for _ in range(3)]


@pytest.fixture(scope="module")
def source():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((None, None, 3), name="images")
    x = keras.layers.Rescaling(1 / 255, name="preprocessing")(inputs)
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1")(x)
    x = keras.layers.Conv2D(48, 3, strides=2, padding="same", activation="relu", name="conv2")(x)
    x = keras.layers.Conv2D(64, 3, padding="same", name="conv3")(x)
    model = keras.Model(inputs, NetVLAD(4, name="netvlad")(x), name="tiny_netvlad")
    initialise_netvlad(model, PHOTOS)
    numbers = np.random.default_rng(0)
    projection = np.linalg.qr(numbers.normal(size=(256, 64)))[0]
    whitened = with_whitening(model, projection, 0.1 * numbers.normal(size=64), 64, np.full(256, 0.01))
    return Source(whitened, SIZE, "tiny_netvlad", "a test")


@pytest.fixture(scope="module", autouse=True)
def sizes_of_a_small_model():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounded_model, "SMALL", 1_000)
        patch.setattr(rounded_model, "LARGE", 10_000)
        patch.setattr(quantise, "LARGE", 10_000)
        yield


@pytest.fixture(scope="module")
def float32_file(source):
    return float32_bytes(source.model, SIZE)


@pytest.fixture(scope="module")
def balanced_file(source, sizes_of_a_small_model):
    return balanced(source, False)


@pytest.fixture(scope="module")
def small_file(source, sizes_of_a_small_model):
    return small(source, False, PHOTOS)


def run(content):
    interpreter = Interpreter(model_content=content)
    images = np.concatenate(PHOTOS)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def smallest_cosine(content, source):
    expected = keras.ops.convert_to_numpy(source.model(np.concatenate(PHOTOS)))
    return float((run(content) * expected).sum(axis=1).min())


def stored_types(content, source):
    """Type of the stored weights by the name of their layer."""
    names = {f"layer{number:04d}x": layer.name for number, layer in enumerate(source.model.layers)}
    details = Interpreter(model_content=content).get_tensor_details()
    weights = [tensor for tensor in details if tensor["shape"].prod() > 400 and "/" in tensor["name"]]
    types = {}
    for tensor in weights:
        if len(tensor["quantization_parameters"]["scales"]) or tensor["dtype"] == np.float16:
            types[names[tensor["name"].split("/")[1].removesuffix("_1")]] = np.dtype(tensor["dtype"]).name
    return types


def test_balanced_stores_large_weights_in_int8_and_small_ones_in_float16(source, balanced_file, float32_file):
    types = stored_types(balanced_file, source)
    assert {name: types[name] for name in ("conv1", "conv2", "conv3", "whitening")} == {
        "conv1": "float16",
        "conv2": "float16",
        "conv3": "int8",
        "whitening": "int8",
    }
    assert smallest_cosine(balanced_file, source) > 0.998
    saved = 4 * 16 * 27 / 2 + 16 * 9 * 48 * 2 + (48 * 9 * 64 + 256 * 64) * 3
    assert len(float32_file) - len(balanced_file) == pytest.approx(saved, rel=0.05)


def test_balanced_is_the_model_with_each_weight_rounded_to_the_nearest(source, balanced_file):
    rounded = keras.models.clone_model(source.model)
    rounded.set_weights(source.model.get_weights())
    for layer in rounded.layers:
        if not layer.weights:
            continue
        weight = layer.weights[0]
        values = keras.ops.convert_to_numpy(weight)
        steps = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0) / 127
        int8 = layer.name in ("conv3", "whitening")
        weight.assign(np.round(values / steps) * steps if int8 else values.astype("float16"))
    assert smallest_cosine(balanced_file, Source(rounded, SIZE, "", "")) > 0.99999


def test_small_stores_large_weights_in_int4_and_keeps_the_descriptor(source, small_file, float32_file):
    assert smallest_cosine(small_file, source) > 0.97
    saved = 16 * 9 * 48 * 3 + (48 * 9 * 64 + 256 * 64) * 3.5
    assert len(float32_file) - len(small_file) == pytest.approx(saved, rel=0.05)


def test_small_is_the_rounded_model_to_the_last_digits(source, small_file):
    rounded, bits = rounded_model.rounded_model(source.model, PHOTOS)
    assert list(bits.values()) == [8, 4, 4]
    # All but conv1 and NetVLAD's assignment, which are in float16, is what the file has to be.
    assert smallest_cosine(small_file, Source(rounded, SIZE, "", "")) > 0.99999


def test_rounding_for_photos_keeps_more_than_rounding_to_the_nearest(source, small_file, monkeypatch):
    calibrated = smallest_cosine(small_file, source)
    monkeypatch.setattr(rounded_model, "gptq", lambda kernel, _, bits: rounded_model.nearest_on_grid(kernel, bits))
    assert 1 - calibrated < 0.6 * (1 - smallest_cosine(small(source, False, PHOTOS), source))


def test_batch_normalisation_that_is_folded_into_a_kernel_keeps_its_values():
    numbers = np.random.default_rng(0)
    x = keras.Input((None, None, 3), name="images")
    inputs = x
    for name, filters in (("c", 24), ("c_1", 40), ("c (2) +x", 64)):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
        # Large and negative factors, as where a channel hardly varies.
        normalisation = keras.layers.BatchNormalization(name=f"normalise {name}")
        x = keras.layers.ReLU()(normalisation(x))
        normalisation.gamma.assign(numbers.normal(size=filters) * 50)
        normalisation.moving_variance.assign(numbers.uniform(0.01, 100, filters))
    model = keras.Model(inputs, MAC(name="mac")(x), name="folded")
    source = Source(model, SIZE, "folded", "a test")
    rounded, bits = rounded_model.rounded_model(model, PHOTOS)
    assert list(bits.values()) == [8, 4]
    assert smallest_cosine(small(source, False, PHOTOS), Source(rounded, SIZE, "", "")) > 0.9999
    assert smallest_cosine(balanced(source, False), source) > 0.99
