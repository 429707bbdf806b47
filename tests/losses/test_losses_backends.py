"""The losses on the JAX and PyTorch backends of Keras, against TensorFlow; run with `make backends`."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import keras
import numpy as np
import pytest

from keras_sare.losses import TupleLoss

MASK = np.array([[1, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1]], "float32")

# Reads losses, mask and embeddings; prints the value and the gradient of each loss.
ELSEWHERE = """
import json, sys
import keras, numpy as np
import keras_sare.losses

content = json.load(sys.stdin)
mask, x = (np.array(content[name], "float32") for name in ("mask", "x"))

def on_torch(loss):
    import torch
    embeddings = torch.tensor(x, requires_grad=True)
    value = loss(mask, embeddings)
    value.backward()
    return float(value.detach()), embeddings.grad.tolist()

def on_jax(loss):
    import jax
    value, gradient = jax.value_and_grad(lambda embeddings: loss(mask, embeddings))(x)
    return float(value), np.asarray(gradient).tolist()

run = {"torch": on_torch, "jax": on_jax}[keras.backend.backend()]
losses = [keras.saving.deserialize_keras_object(config) for config in content["losses"]]
print(json.dumps([run(loss) for loss in losses]))
"""


@pytest.mark.backends
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_value_and_gradient_are_those_of_tensorflow(
    backend: str,
    unit_tuples: Callable,
    value_and_gradient: Callable,
    makers: dict[str, Callable[..., TupleLoss]],
) -> None:
    losses = [make(scale=scale) for make in makers.values() for scale in ("tuple", "divide_by_negatives")]
    x = unit_tuples().astype("float32")
    x[2, 2:] = np.nan  # masked, as are all negatives of that tuple
    configs = [keras.saving.serialize_keras_object(loss) for loss in losses]
    content = {"losses": configs, "mask": MASK.tolist(), "x": x.tolist()}
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        input=json.dumps(content),
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for loss, (value, gradient) in zip(losses, json.loads(done.stdout.splitlines()[-1]), strict=True):
        values, by_embedding = value_and_gradient(loss, x, MASK)
        assert value == pytest.approx(values.mean(), rel=1e-5), loss.get_config()
        np.testing.assert_allclose(gradient, by_embedding / len(x), rtol=1e-4, atol=1e-6, err_msg=loss.name)
