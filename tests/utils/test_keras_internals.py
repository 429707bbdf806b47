"""Attributes of Keras that are not public are used in one file, and do there what we take them to do."""

import ast
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_sare.utils.keras_internals import all_layers, arguments_of, mask_of, sublayers

ROOT = Path(__file__).parents[2]
FOLDERS = ("keras_sare", "trainers", "export", "serving")
KNOWN = f"Keras {keras.__version__} has other attributes than 3.15.1, for which keras_sare/utils/keras_internals.py is"


@pytest.fixture
def model():
    inputs = keras.Input((4,), name="inputs")
    inner = keras.Sequential([keras.layers.Dense(3, name="first"), keras.layers.ReLU(name="second")], name="inner")
    middle = inner(inputs)
    return keras.Model(inputs, keras.layers.Add(name="sum")([middle, keras.ops.sin(middle)]), name="model")


def test_layers_are_found_at_one_level_and_at_all(model):
    names = [layer.name for layer in sublayers(model)]
    assert set(names) - {"sin"} == {"inputs", "inner", "sum"}, KNOWN
    assert {"first", "second"} <= {layer.name for layer in sublayers(model.get_layer("inner"))}, KNOWN
    assert {"model", "inner", "first", "second", "sum"} <= {layer.name for layer in all_layers(model)}, KNOWN


def test_what_a_tensor_is_computed_from_is_that_of_the_model_in_question(model):
    summands = arguments_of(model.output)
    assert [tuple(one.shape) for one in summands] == [(None, 3), (None, 3)], KNOWN
    (before_sine,) = arguments_of(summands[1])
    assert before_sine is summands[0], KNOWN
    assert arguments_of(summands[0]) == [model.input], KNOWN
    assert arguments_of(model.input) == [], KNOWN
    other = keras.Input((4,))
    assert arguments_of(model.get_layer("inner")(other)) == [other], KNOWN


def test_a_mask_is_found_on_a_tensor():
    masked = keras.layers.Masking()(np.array([[[0.0], [1.0]]], "float32"))
    assert np.array_equal(mask_of(masked), [[False, True]]), KNOWN
    assert mask_of(np.zeros(3)) is None


def private_names():
    objects = [keras.layers.Layer, keras.Model, keras.KerasTensor, keras.Loss, keras.Variable]
    names = {name for one in objects for name in dir(one) if name.startswith("_") and not name.startswith("__")}
    return names | {"_keras_mask", "_keras_history", "_layers", "_inbound_nodes", "_outbound_nodes", "_functional"}


def test_one_file_alone_uses_what_is_not_public():
    private = private_names()
    used = set()
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            is_own = isinstance(node, ast.Attribute) and getattr(node.value, "id", None) in ("self", "cls")
            if isinstance(node, ast.Attribute) and node.attr in private and not is_own:
                used.add(str(path.relative_to(ROOT)))
    assert used == {"keras_sare/utils/keras_internals.py"}
