"""The frozen part of a model as stores use it: compiled once for all of them."""

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_sare.distribution.workers import Workers
from keras_sare.extraction.split_model import SplitModel
from keras_sare.utils.choices import check_choice
from keras_sare.utils.digests import content_digest

DTYPES = ("float16", "bfloat16", "float32")


class FrozenTrunk:
    """The layers that are not trained, and what their output depends on.

    Args:
        trunk: frozen part of the model: one output of images.
        dtype: of what it gives: "float16" (11 bits of precision, up to 65504), "bfloat16" (8 bits, up to 3e38) or
            "float32".
        strategy: whose replicas on this worker share a batch in `shared`; by default one device.

    Attributes:
        dtype: name.
        digest: of all but the images that the output depends on: the layers, with the preprocessing among them and the
            layer where the model is cut, their weights, and `dtype`.
        forward: function from images float32 [n, height, width, 3] to the output of `dtype` [n, ...], on one device.
        shared: the same, shared out over the replicas.

    Raises:
        ValueError: `dtype` is none of the three.
    """

    def __init__(
        self, trunk: keras.Model, dtype: str = "float16", strategy: tf.distribute.Strategy | None = None
    ) -> None:
        check_choice("dtype", dtype, DTYPES)
        self.trunk = trunk
        self.dtype = dtype
        self.digest = _digest(trunk, dtype)
        # Cast on the device: half of the bytes have to leave it.
        model = keras.Model(trunk.input, keras.ops.cast(trunk.output, dtype))
        self.forward = self.shared = _compile(model, trunk.input.shape)
        if strategy and (replicas := Workers(strategy).local_replicas) > 1:
            self.shared = _compile(SplitModel(model, strategy, replicas), trunk.input.shape)

    def output_shape(self, size: tuple[int, int]) -> tuple[int, ...]:
        """Shape of the output for one image of a size (height, width)."""
        return tuple(self.trunk.compute_output_shape((1, *size, 3))[1:])


def _compile(model: Callable[..., Any], shape: tuple[int | None, ...]) -> Callable[[Any], Any]:
    spec = tf.TensorSpec((None, *shape[1:]), tf.float32)
    return tf.function(lambda pixels: model(pixels, training=False), input_signature=[spec], autograph=False)


def _digest(trunk: keras.Model, dtype: str) -> str:
    names = {layer.name: f"layer {i}" for i, layer in enumerate(trunk.layers)}
    config = {key: value for key, value in trunk.get_config().items() if key != "name"}
    text = json.dumps([dtype, _canonical(config, names)], sort_keys=True)
    return content_digest(itertools.chain([text], map(keras.ops.convert_to_numpy, trunk.weights)))


def _canonical(value: Any, names: Mapping[str, str]) -> Any:
    """A configuration without what does not change the output: the layers' names, and whether they are trained."""
    if isinstance(value, Mapping):
        return {key: _canonical(item, names) for key, item in value.items() if key != "trainable"}
    if isinstance(value, list | tuple):
        return [_canonical(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value
