import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from export.converters.tflite import write_tflite
from export.converters.tflite_check import check_operations, check_weights, operations
from export.converters.tflite_convert import float32_bytes
from export.converters.tflite_quantised import FLOAT16, quantised
from export.source import Source
from keras_sare.layers import NetVLAD
from keras_sare.models import POOLINGS, build, with_whitening

SIZE = (24, 32)
OPTIONS = {
    "netvlad": {"clusters": 4},
    "mixvpr": {"tokens": (5, 6), "depth": 2, "channels": 8, "rows": 2},
    "convap": {"channels": 8},
    "salad": {"clusters": 4, "cluster_dim": 4, "token_dim": 8, "hidden": 8},
    "rmac": {"whitening_dim": 4, "include_global": True},
}


def pooled(pooling, filters=8):
    inputs = keras.Input((None, None, 3), name="images")
    features = keras.layers.Conv2D(filters, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, pooling(keras.layers.MaxPooling2D(2)(features)), name="small")


def model_of(name):
    rng = np.random.default_rng(0)
    layer = POOLINGS[name](**OPTIONS.get(name, {}))
    model = pooled(layer)
    if name == "netvlad":
        layer.set_clusters(rng.normal(size=(4, 8)), 3.0)
    if name == "rmac":
        layer.set_projection(rng.normal(size=(8, 4)), rng.normal(size=4))
    return model


def photos(batch, height, width):
    return np.random.default_rng(height).integers(0, 256, (batch, height, width, 3)).astype("float32")


def described(content, images):
    interpreter = Interpreter(model_content=content, num_threads=2)
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, images.shape, strict=True)
    interpreter.allocate_tensors()
    interpreter.set_tensor(index, images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def cosines(content, model, images):
    return np.sum(described(content, images) * model(images).numpy(), axis=1)


@pytest.fixture(scope="module")
def netvlad():
    """A model with enough weights that their bytes are nearly all of the file's, and its file in float32."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(0)
    layer = NetVLAD(16, name="netvlad")
    model = pooled(layer, filters=64)
    layer.set_clusters(rng.normal(size=(16, 64)), 3.0)
    model = with_whitening(model, rng.normal(size=(1024, 128)) / 32, rng.normal(size=128) / 32, 128)
    return model, float32_bytes(model, SIZE)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_file_takes_images_of_every_size_and_batches_of_every_size(pooling):
    model = model_of(pooling)
    content = float32_bytes(model, SIZE)
    for images in (photos(1, *SIZE), photos(3, 40, 28), photos(2, 12, 33)):
        np.testing.assert_allclose(described(content, images), model(images), atol=1e-6)


@pytest.mark.parametrize("pooling", ["netvlad", "rmac", "mixvpr", "convap"])
def test_file_of_a_fixed_size_takes_single_images_of_that_size_and_no_others(pooling):
    model = model_of(pooling)
    content = float32_bytes(model, SIZE, fixed=True)
    np.testing.assert_allclose(described(content, photos(1, *SIZE)), model(photos(1, *SIZE)), atol=1e-6)
    for images in (photos(2, *SIZE), photos(1, 24, 36)):
        with pytest.raises(RuntimeError, match="only allows mutating unknown dimensions"):
            described(content, images)


def test_signature_names_input_and_output_and_runs_by_itself(netvlad):
    model, content = netvlad
    interpreter = Interpreter(model_content=content)
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["images"], "outputs": ["embedding"]}}
    images = photos(2, 30, 20)
    embedding = interpreter.get_signature_runner("serving_default")(images=images)["embedding"]
    np.testing.assert_allclose(embedding, model(images), atol=1e-6)


@pytest.mark.parametrize(("size", "standing"), [(SIZE, SIZE), (40, (40, 40))])
def test_open_file_stands_at_the_evaluations_size_before_it_is_resized(size, standing):
    # At 1x1, the converter's own choice, the network's convolution has no output, and nothing can be allocated.
    interpreter = Interpreter(model_content=float32_bytes(model_of("mac"), size))
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()[0]
    assert (tuple(details["shape"]), details["dtype"]) == ((1, *standing, 3), np.float32)
    assert tuple(details["shape_signature"]) == (-1, -1, -1, 3)


def test_file_holds_every_weight_once_and_builtin_operations_only(netvlad):
    model, content = netvlad
    assert 4 * model.count_params() <= len(content) < 4 * model.count_params() + 20_000
    names = operations(content)
    assert {"CONV_2D", "SOFTMAX", "BATCH_MATMUL", "FULLY_CONNECTED"} <= set(names)
    assert not [name for name in names if "CUSTOM" in name or "VARIABLE" in name or "VAR_HANDLE" in name]


@pytest.mark.parametrize(
    ("variant", "fixed", "share", "cosine"),
    [
        ("float32", False, 1, 1 - 1e-5),
        ("float16", False, 1 / 2, 0.9999),
        ("dynamic_int8", False, 1 / 4, 0.99),
        ("dynamic_int8", True, 1 / 4, 0.99),
    ],
)
def test_variant_has_its_size_and_agrees_with_the_keras_model(netvlad, tmp_path, capsys, variant, fixed, share, cosine):
    model, _ = netvlad
    path = tmp_path / "files" / f"{variant}.tflite"
    write_tflite(Source(model, SIZE, "small", "a test"), path, variant, fixed)
    assert capsys.readouterr() == ("", "")
    assert path.stat().st_size == pytest.approx(share * 4 * model.count_params(), abs=20_000)
    found = cosines(path.read_bytes(), model, photos(1 if fixed else 4, *SIZE))
    assert found.min() >= cosine
    assert found.max() <= 1 + 1e-5
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(("normalization", "shares"), [("matlab", (0, 0.01)), ("torch", (0.49, 0.51))])
def test_float16_keeps_the_normalisations_epsilon_so_nearly_empty_clusters_keep_their_share(normalization, shares):
    layer = NetVLAD(4, normalization=normalization)
    model = pooled(layer)
    centres = np.random.default_rng(0).normal(size=(4, 8))
    centres[0] = -1  # Features are positive: this cluster gets about exp(-38) of each.
    layer.set_clusters(centres, 30.0)
    images = photos(2, *SIZE)
    share = np.linalg.norm(model(images)[:, :8], axis=1)
    assert shares[0] < share.min() <= share.max() < shares[1]
    content = float32_bytes(model, SIZE)
    assert cosines(content, model, images).min() >= 0.999999
    assert cosines(quantised(content, FLOAT16), model, images).min() >= 0.9999


def test_file_that_the_converter_made_without_the_variables_is_refused(netvlad):
    model, _ = netvlad
    function = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 3))]).get_concrete_function()
    content = tf.lite.TFLiteConverter.from_concrete_functions([function], model).convert()
    with pytest.raises(RuntimeError, match="must consist of builtin operations .* Received: READ_VARIABLE, VAR_HANDLE"):
        check_operations(content)
    with pytest.raises(
        RuntimeError, match=f"must hold {model.count_params()} weights.* Received: {len(content)} bytes"
    ):
        check_weights(content, model.count_params())


class Erfinv(keras.layers.Layer):
    def call(self, inputs):
        return keras.ops.mean(keras.ops.erfinv(inputs / 300), axis=(1, 2))


@pytest.fixture(scope="module")
def foreign():
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, Erfinv()(inputs), name="foreign")


def test_operation_that_tflite_does_not_have_is_named_and_nothing_is_written(foreign, tmp_path):
    with pytest.raises(ValueError, match="builtin.* Received: model='foreign' with Erfinv"):
        write_tflite(Source(foreign, SIZE, "foreign", "a test"), tmp_path / "float32.tflite")
    assert list(tmp_path.iterdir()) == []


def test_file_with_an_operation_that_is_not_builtin_is_refused(foreign):
    function = tf.function(foreign, input_signature=[tf.TensorSpec((None, None, None, 3))]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], foreign)
    converter.allow_custom_ops = True
    with pytest.raises(RuntimeError, match="must consist of builtin operations .* Received: CUSTOM Erfinv"):
        check_operations(converter.convert())


def test_unknown_variant_lists_the_known_ones(netvlad, tmp_path):
    with pytest.raises(ValueError, match="must be one of float32, float16, dynamic_int8.* Received: variant='int3'"):
        write_tflite(Source(netvlad[0], SIZE, "small", "a test"), tmp_path / "int3.tflite", "int3")


def test_images_that_keep_their_aspect_ratio_have_no_fixed_size(netvlad):
    with pytest.raises(ValueError, match="`fixed` must be False .* Received: fixed=True, size=1024"):
        float32_bytes(netvlad[0], 1024, fixed=True)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["mobilenet_v3", "efficientnet_v2_b0", "resnet50", "convnext_tiny", "vgg16"])
def test_every_backbone_converts(backbone):
    model = build(f"{backbone}_netvlad", weights=None)
    layer = model.get_layer("netvlad")
    layer.set_clusters(np.random.default_rng(0).normal(size=layer.centroids.shape), 3.0)
    content = float32_bytes(model, (96, 128))
    # A little less than the weights: batch normalisations are folded into the convolutions.
    assert len(content) == pytest.approx(4 * model.count_params(), rel=0.03)
    for images in (photos(1, 96, 128), photos(2, 160, 120)):
        assert cosines(content, model, images).min() >= 1 - 1e-5
