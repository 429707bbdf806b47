import sys
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import onnx
import pytest

from export.converters import onnx_model
from export.converters.onnx_model import write_onnx
from export.fidelity.runtime import Runtime
from export.source import Source
from keras_sare.layers import MAC, NetVLAD
from keras_sare.models import POOLINGS, initialise_netvlad


class Scaled(keras.layers.Layer):
    """Has an operation that ONNX lacks."""

    def call(self, inputs):
        return inputs * keras.ops.linalg.norm(keras.ops.cholesky((1 + inputs[0, 0] ** 2) * keras.ops.eye(2)))


@pytest.fixture(scope="module")
def source(whitened_model):
    return Source(whitened_model, (24, 32), "small_mac", "a test")


@pytest.fixture(scope="module")
def file(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(source, path)
    return path


def photos(*shape):
    return np.random.default_rng(5).integers(0, 256, (*shape, 3)).astype("float32")


def test_batches_and_sizes_that_were_never_tried_give_the_models_descriptors_without_tensorflow(source, file):
    batches = [photos(1, 24, 32), photos(5, 31, 17), photos(2, 64, 64)]
    with Runtime("onnx", file) as runtime:
        described = [runtime.extract(batch) for batch in batches]
        assert runtime.modules() == []
    for batch, descriptors in zip(batches, described, strict=True):
        np.testing.assert_allclose(descriptors, source.model(batch), atol=1e-5)


def test_names_and_operator_set_are_the_promised_ones(file):
    graph = onnx.load(str(file)).graph
    [images] = graph.input
    [embedding] = graph.output
    assert (images.name, embedding.name) == ("images", "embedding")
    sides = [
        [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim] for value in (images, embedding)
    ]
    assert sides == [["batch", "height", "width", 3], ["batch", 8]]
    assert {operators.domain: operators.version for operators in onnx.load(str(file)).opset_import}[""] == 15


def stored_bytes(path):
    return sum(len(onnx.numpy_helper.to_array(one).tobytes()) for one in onnx.load(str(path)).graph.initializer)


def test_weights_are_stored_once(source, file):
    weights = 4 * source.model.count_params()
    assert weights - 64 <= stored_bytes(file) < weights + 512


def test_large_matrix_goes_past_the_converter_and_is_stored_once_too(source, file, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_model, "_LARGE_MATRIX", 100)
    write_onnx(source, tmp_path / "model.onnx")
    model = onnx.load(str(tmp_path / "model.onnx"))
    assert [one.name for one in model.graph.input] == ["images"]
    projection = next(one for one in model.graph.initializer if one.name == "matrix_0")
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(projection), source.model.layers[-1].projection)
    assert stored_bytes(tmp_path / "model.onnx") == stored_bytes(file)


def test_conversion_is_silent(source, tmp_path, caplog, capfd):
    write_onnx(source, tmp_path / "model.onnx")
    assert [record.name for record in caplog.records if record.name.startswith("tf2onnx")] == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("size", "shapes"),
    [
        (1024, [(1, 224, 168, 3), (2, 168, 224, 3)]),
        ((24, 32), [(1, 32, 24, 3), (2, 24, 32, 3)]),
        ((40, 40), [(1, 40, 30, 3), (2, 30, 40, 3)]),
    ],
)
def test_check_is_made_upright_and_lying_at_the_sources_size(source, size, shapes):
    sized = replace(source, size=size)
    assert [one.shape for one in onnx_model.sample_batches(sized)] == shapes


def test_model_that_takes_one_size_only_is_checked_at_that(tmp_path):
    images = keras.Input((24, 32, 3))
    features = keras.layers.Conv2D(8, 3)(keras.layers.Rescaling(1 / 255)(images))
    source = Source(keras.Model(images, MAC()(features)), (24, 32), "fixed", "a test")
    assert [one.shape for one in onnx_model.sample_batches(source)] == [(1, 24, 32, 3), (2, 24, 32, 3)]
    write_onnx(source, tmp_path / "model.onnx")
    with Runtime("onnx", tmp_path / "model.onnx") as runtime:
        np.testing.assert_allclose(runtime.extract(photos(2, 24, 32)), source.model(photos(2, 24, 32)), atol=1e-5)


@pytest.mark.parametrize("wrong", [0.0, np.nan])
def test_file_that_differs_from_the_model_is_refused_and_leaves_nothing(source, tmp_path, monkeypatch, wrong):
    runtime = SimpleNamespace(extract=lambda images: np.full((len(images), 8), wrong, np.float32))
    monkeypatch.setattr(onnx_model, "Runtime", lambda *_: nullcontext(runtime))
    with pytest.raises(RuntimeError, match=f"to a cosine of 0.9999. Received: cosine={wrong:.6f} for 'small_mac'"):
        write_onnx(source, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_operation_that_onnx_lacks_is_an_error_and_leaves_nothing(source, tmp_path):
    images = keras.Input((None, None, 3))
    model = keras.Model(images, Scaled()(source.model(images)))
    with pytest.raises(RuntimeError, match="has an operation that ONNX lacks.*TFLite.*'small_mac'.*Cholesky"):
        write_onnx(replace(source, model=model), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_model_beyond_two_gibibytes_is_refused_at_once(source, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_model, "_MAX_BYTES", 100)
    with pytest.raises(ValueError, match="less than 2 GiB.*--dim.*Received: source.name='small_mac'"):
        write_onnx(source, tmp_path / "model.onnx")


@pytest.mark.parametrize("missing", ["onnx", "tf2onnx", "onnxruntime"])
def test_missing_package_is_named_with_the_line_that_installs_it(source, tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf'{missing}.*pip install "keras-sare\[onnx\]"'):
        write_onnx(source, tmp_path / "model.onnx")


def pooled(pooling):
    images = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(16, 3, strides=2, activation="relu")(keras.layers.Rescaling(1 / 255)(images))
    model = keras.Model(images, POOLINGS[pooling](name=pooling)(features))
    if pooling == "netvlad":
        initialise_netvlad(model, [photos(4, 60, 80)])
    return model


@pytest.mark.parametrize("normalization", ["matlab", "torch"])
def test_netvlad_keeps_its_descriptor(tmp_path, normalization):
    images = keras.Input((None, None, 3))
    layer = NetVLAD(4, normalization=normalization)
    model = keras.Model(images, layer(keras.layers.Conv2D(8, 3)(keras.layers.Rescaling(1 / 255)(images))))
    initialise_netvlad(model, [photos(4, 24, 32)])
    assignment, *others = layer.get_weights()
    layer.set_weights([12 * assignment, *others])  # So that clusters are left empty and the rule tells.
    write_onnx(Source(model, (24, 32), "small_netvlad", "a test"), tmp_path / "model.onnx")
    with Runtime("onnx", tmp_path / "model.onnx") as runtime:
        np.testing.assert_allclose(runtime.extract(photos(3, 30, 30)), model(photos(3, 30, 30)), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_converts(pooling, tmp_path):
    model = pooled(pooling)
    write_onnx(Source(model, (60, 80), pooling, "a test"), tmp_path / "model.onnx")
    with Runtime("onnx", tmp_path / "model.onnx") as runtime:
        np.testing.assert_allclose(runtime.extract(photos(3, 70, 50)), model(photos(3, 70, 50)), atol=1e-5)
