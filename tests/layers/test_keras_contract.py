"""Keras' own contract of a layer, which every layer of ours keeps."""

import inspect

import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from keras_sare import layers

MAPS = (2, 6, 9, 5)
TOKEN = (2, 5)
LAYERS = {
    "MAC": (layers.MAC, {}, MAPS, 5),
    "SPoC": (layers.SPoC, {}, MAPS, 5),
    "GeM": (layers.GeM, {"per_channel": True, "normalize": False}, MAPS, 5),
    "CroW": (layers.CroW, {}, MAPS, 5),
    "RMAC": (layers.RMAC, {"include_global": True}, MAPS, 5),
    "RMAC, whitened": (layers.RMAC, {"whitening_dim": 4}, MAPS, 4),
    "NetVLAD": (layers.NetVLAD, {"clusters": 3}, MAPS, 15),
    "NetVLAD v2 as in PyTorch": (
        layers.NetVLAD,
        {"clusters": 3, "method": "vladv2_preL2_intra", "normalization": "torch"},
        MAPS,
        15,
    ),
    "MixVPR": (layers.MixVPR, {"tokens": (4, 5), "depth": 2, "channels": 6, "rows": 2}, MAPS, 12),
    "ConvAP": (layers.ConvAP, {"channels": 3, "s1": 2, "s2": 3}, MAPS, 18),
    "SALAD": (layers.SALAD, {"clusters": 3, "cluster_dim": 4, "token_dim": 2, "hidden": 8, "dropout": 0.0}, MAPS, 14),
    "SALAD with a token": (
        layers.SALAD,
        {"clusters": 3, "cluster_dim": 4, "token_dim": 2, "hidden": 8},
        [MAPS, TOKEN],
        14,
    ),
    "Whitening": (layers.Whitening, {"dim": 3}, TOKEN, 3),
    "Whitening, end to end": (layers.Whitening, {"dim": 7, "end_to_end": True}, TOKEN, 7),
    "ImagePreprocessing": (layers.ImagePreprocessing, {"mean": (1.0, 2, 3), "std": (4.0, 5, 6)}, (2, 6, 9, 3), None),
}
"""Class, arguments, input shape, length of the descriptor: None where the output is as large as the input."""

OF_MAPS = [name for name, (_, _, shape, _) in LAYERS.items() if len(shape) == 4]


@pytest.fixture(params=LAYERS)
def case(request):
    return LAYERS[request.param]


def output_shape(input_shape, length):
    maps = input_shape[0] if isinstance(input_shape, list) else input_shape
    return maps if length is None else (maps[0], length)


def test_every_layer_is_in_the_table():
    public = {cls for cls in vars(layers).values() if inspect.isclass(cls) and issubclass(cls, keras.layers.Layer)}
    assert {cls for cls, *_ in LAYERS.values()} == public


# By Keras' test itself, which trains every layer on a generator, also those without weights.
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning")
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights:UserWarning")
def test_layer_keeps_the_contract_that_keras_tests_its_own_by(case):
    cls, arguments, shape, length = case
    TestCase().run_layer_test(
        cls,
        arguments,
        input_shape=shape,
        expected_output_shape=output_shape(shape, length),
        expected_output_dtype="float32",
        supports_masking=False,
        # Keras' test cannot make a dataset of lists.
        run_training_check=not isinstance(shape, list),
        # It asks for outputs in the compute dtype; these are in float32, see the test below.
        run_mixed_precision_check=False,
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "mixed_float16", "mixed_bfloat16"])
def test_shape_and_dtype_are_known_before_the_layer_runs(case, dtype):
    cls, arguments, shape, length = case
    layer = cls(**arguments, dtype=dtype)
    for input_dtype in ("float16", "float32", "float64"):
        shapes = shape if isinstance(shape, list) else [shape]
        symbols = [keras.KerasTensor((None, *one[1:]), input_dtype) for one in shapes]
        values = [keras.ops.ones(one, input_dtype) for one in shapes]
        several = isinstance(shape, list)
        promised = layer(symbols if several else symbols[0])
        output = layer(values if several else values[0])
        assert promised.shape == (None, *output.shape[1:])
        assert tuple(output.shape) == output_shape(shape, length)
        assert promised.dtype == keras.backend.standardize_dtype(output.dtype)
    assert tuple(layer.compute_output_shape(shape)) == output_shape(shape, length)


@pytest.mark.parametrize("name", [name for name, (_, _, shape, _) in LAYERS.items() if isinstance(shape, tuple)])
def test_layer_is_applied_to_every_step_of_a_sequence(name, tmp_path):
    cls, arguments, shape, length = LAYERS[name]
    sequence = keras.Input((3, *shape[1:]))
    model = keras.Model(sequence, keras.layers.TimeDistributed(cls(**arguments))(sequence))
    assert model.output.shape == (None, 3, *output_shape(shape, length)[1:])
    values = np.random.default_rng(0).random((shape[0], 3, *shape[1:])).astype("float32")
    model.save(tmp_path / "model.keras")
    outputs = keras.saving.load_model(tmp_path / "model.keras")(values)
    layer = model.layers[-1].layer
    for step in range(3):
        np.testing.assert_allclose(outputs[:, step], layer(values[:, step]), atol=1e-6)


@pytest.mark.parametrize("name", OF_MAPS)
def test_model_of_unknown_size_takes_every_size_and_learns(name):
    cls, arguments, shape, length = LAYERS[name]
    images = keras.Input((None, None, shape[-1]))
    output = cls(**arguments)(keras.layers.Conv2D(shape[-1], 1, activation="relu", bias_initializer="ones")(images))
    assert output.shape == ((None, None, None, 3) if length is None else (None, length))
    model = keras.Model(images, output)
    model.compile("sgd", "mse", run_eagerly=True)
    for height, width in ((6, 9), (7, 4)):
        values = np.random.default_rng(0).random((2, height, width, shape[-1])).astype("float32")
        found = model(values)
        assert np.isfinite(found).all()
        model.fit(values, np.zeros(found.shape, "float32"), verbose=0)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
