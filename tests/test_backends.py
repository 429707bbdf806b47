"""Every public layer and loss on the JAX and PyTorch backends of Keras, against TensorFlow's numbers.

Keras chooses its backend once a process, so the tests run this file as a program, once for each backend:

    KERAS_BACKEND=jax python tests/test_backends.py outputs.npz
"""

import importlib.util
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

# Constructor arguments and inputs of every public layer; a layer may come several times.
LAYERS: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("MAC", {}, ("maps",)),
    ("RMAC", {}, ("maps",)),
    ("RMAC", {"levels": 2, "whitening_dim": 4, "include_global": True}, ("maps",)),
    ("SALAD", {"clusters": 4, "cluster_dim": 3, "token_dim": 5, "hidden": 8}, ("maps",)),
    ("SALAD", {"clusters": 4, "cluster_dim": 3, "token_dim": 5, "hidden": 8}, ("maps", "token")),
    ("ConvAP", {"channels": 4, "s1": 3}, ("maps",)),
    ("CroW", {}, ("maps",)),
    ("GeM", {}, ("maps",)),
    ("GeM", {"per_channel": True}, ("maps",)),
    ("ImagePreprocessing", {"mean": (1.0, 2.0, 3.0), "std": (4.0, 5.0, 6.0), "bgr": True}, ("images",)),
    ("MixVPR", {"tokens": (5, 7), "depth": 2, "channels": 4, "rows": 3}, ("maps",)),
    ("MixVPR", {"tokens": (4, 8), "depth": 1, "channels": 4, "rows": 3}, ("maps",)),
    ("NetVLAD", {"clusters": 3}, ("maps",)),
    ("NetVLAD", {"clusters": 3, "method": "vladv2"}, ("maps",)),
    ("SPoC", {}, ("maps",)),
    ("Whitening", {"dim": 4}, ("token",)),
    ("Whitening", {"dim": 4, "end_to_end": True}, ("token",)),
]

# Arguments of `losses.get` beside the defaults of every loss.
LOSS_VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("contrastive", {"margin": 1.3}),
    *(
        (f"sare_{mode}", {"kernel": kernel, "scale": scale})
        for kernel in ("gaussian", "cauchy", "exponential")
        for mode in ("independent", "joint")
        for scale in ("tuple", "divide_by_negatives")
    ),
    ("triplet", {"margin": 0.3}),
    ("triplet", {"margin": 0.3, "squared": False}),
]

# Public functions and their inputs.
FUNCTIONS: list[tuple[str, tuple[Any, ...]]] = [
    ("layers.l2_normalize", ("token",)),
    ("layers.region_grid", (30, 40)),
    ("losses.contrastive", ("positive_distances", "negative_distances")),
    ("losses.sare", ("positive_distances", "negative_distances")),
    ("losses.triplet", ("positive_distances", "negative_distances")),
]

# A base class, which its subclasses test, and what finds losses by name.
NO_METHOD = {"losses.TupleLoss", "losses.LossEntry", "losses.get"}

# A loss around each of the others.
AROUND = {"losses.PlaceBatchLoss"}

BACKENDS = ("jax", "torch")


def inputs() -> dict[str, np.ndarray]:
    """Seeded inputs by name: maps as after a ReLU, unit vectors in the tuples."""
    random = np.random.RandomState(5)
    tuples = random.normal(size=(3, 6, 8))
    arrays = {
        "maps": np.maximum(random.normal(size=(2, 5, 7, 6)), 0),
        "token": random.normal(size=(2, 6)),
        "images": random.randint(0, 256, size=(2, 4, 5, 3)),
        "tuples": tuples / np.linalg.norm(tuples, axis=-1, keepdims=True),
        "mask": np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]]),
        "positive_distances": random.uniform(0, 4, size=3),
        "negative_distances": random.uniform(0, 4, size=(3, 4)),
    }
    return {name: array.astype("uint8" if name == "images" else "float32") for name, array in arrays.items()}


def layer_outputs() -> dict[str, np.ndarray]:
    """What every layer gives when called and, as a model of images of any size, in a compiled prediction."""
    import keras

    from keras_sare import layers

    data = inputs()
    outputs = {}
    for number, (name, arguments, names) in enumerate(LAYERS):
        arrays = [data[key] for key in names]
        symbols = [keras.Input((*(None for _ in x.shape[1:-1]), x.shape[-1]), dtype=x.dtype.name) for x in arrays]
        layer = getattr(layers, name)(**arguments)
        one = len(arrays) == 1
        model = keras.Model(symbols, layer(symbols[0] if one else symbols))
        random = np.random.RandomState(number)
        # Vectors and scalars stay positive, as an exponent has to.
        layer.set_weights(
            [
                random.normal(size=w.shape) if w.ndim > 1 else random.uniform(0.5, 2, w.shape)
                for w in layer.get_weights()
            ]
        )
        key = f"{number} {name} {arguments} of {' and '.join(names)}"
        tensors = [keras.ops.convert_to_tensor(x) for x in arrays]
        outputs[f"{key}, called"] = keras.ops.convert_to_numpy(layer(tensors[0] if one else tensors))
        outputs[f"{key}, predicted"] = model.predict_on_batch(arrays)
    return outputs


def loss_outputs() -> dict[str, np.ndarray]:
    """Value of each tuple by every loss, with and without a mask, and the reduced value."""
    import keras

    from keras_sare import losses

    data = inputs()
    outputs = {}
    tuples, mask = (keras.ops.convert_to_tensor(data[name]) for name in ("tuples", "mask"))
    for name, arguments in [*((name, {}) for name in losses.LOSSES), *LOSS_VARIANTS]:
        each, reduced = (losses.get(name, **arguments, **extra) for extra in ({"reduction": None}, {}))
        for key, y_true in (("all negatives", keras.ops.zeros(3)), ("a mask", mask)):
            outputs[f"{name} {arguments} of {key}, tuples"] = keras.ops.convert_to_numpy(each(y_true, tuples))
            outputs[f"{name} {arguments} of {key}, reduced"] = keras.ops.convert_to_numpy(reduced(y_true, tuples))
        places = losses.PlaceBatchLoss(reduced).call(None, tuples)  # Three places of six images.
        outputs[f"{name} {arguments} of places"] = keras.ops.convert_to_numpy(places)
    return outputs


def function_outputs() -> dict[str, np.ndarray]:
    """What every public function gives."""
    import keras

    import keras_sare

    data = inputs()
    outputs = {}
    for path, arguments in FUNCTIONS:
        package, name = path.split(".")
        values = [keras.ops.convert_to_tensor(data[x]) if isinstance(x, str) else x for x in arguments]
        outputs[path] = keras.ops.convert_to_numpy(getattr(getattr(keras_sare, package), name)(*values))
    return outputs


def main(path: str) -> None:
    """Writes all outputs, after a check of what importing the packages has imported."""
    import keras

    import keras_sare.layers
    import keras_sare.losses  # noqa: F401

    if keras.backend.backend() != "tensorflow" and "tensorflow" in sys.modules:
        raise SystemExit(f"keras_sare.layers or keras_sare.losses imported TensorFlow under {keras.backend.backend()}")
    np.savez(path, **layer_outputs(), **loss_outputs(), **function_outputs())


if __name__ == "__main__":
    main(sys.argv[1])
    raise SystemExit

import pytest  # noqa: E402  The program above runs without it.

from keras_sare.losses import LOSSES  # noqa: E402  The program above has its backend to choose first.


def outputs_of(backend: str, folder: Path) -> dict[str, np.ndarray]:
    """Outputs of this file as a program under `backend`."""
    path = folder / f"{backend}.npz"
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    # -P: the folders beside this file must not pass for packages.
    run = subprocess.run(
        [sys.executable, "-P", __file__, str(path)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, f"on the {backend} backend:\n{run.stdout}{run.stderr}"
    with np.load(path) as outputs:
        return dict(outputs)


@pytest.fixture(scope="module")
def on_tensorflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return outputs_of("tensorflow", tmp_path_factory.mktemp("tensorflow"))


@pytest.mark.parametrize("package", ["layers", "losses"])
def test_every_public_layer_and_loss_is_in_a_table(package: str) -> None:
    module = importlib.import_module(f"keras_sare.{package}")
    listed = {f"layers.{name}" for name, *_ in LAYERS} | {path for path, _ in FUNCTIONS} | NO_METHOD | AROUND
    listed |= {f"losses.{entry.loss.__name__}" for entry in LOSSES.values()}
    public = {f"{package}.{name}" for name in module.__all__ if callable(getattr(module, name))}
    assert public == {path for path in listed if path.startswith(package)}
    assert {path for path in public - NO_METHOD if inspect.isfunction(getattr(module, path.split(".")[1]))} == {
        path for path, _ in FUNCTIONS if path.startswith(package)
    }


@pytest.mark.backends
@pytest.mark.parametrize("backend", BACKENDS)
def test_outputs_equal_those_on_tensorflow(backend: str, on_tensorflow: dict[str, np.ndarray], tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.fail(f"This test needs {backend}: run `make backends`, or `pip install 'keras-sare[backends]'`")
    outputs = outputs_of(backend, tmp_path)
    assert outputs.keys() == on_tensorflow.keys()
    for name, value in on_tensorflow.items():
        assert np.isfinite(value).all(), name
        assert outputs[name].dtype == value.dtype, name
        np.testing.assert_allclose(outputs[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
