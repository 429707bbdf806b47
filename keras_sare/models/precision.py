"""Mixed precision for a model that is there already."""

import keras

from keras_sare.layers import Whitening
from keras_sare.layers.pooling import FeatureMapPooling
from keras_sare.utils.choices import check_choice
from keras_sare.utils.keras_internals import sublayers
from keras_sare.utils.settings import PRECISIONS

_KEEPING_FLOAT32 = (FeatureMapPooling, Whitening)


def set_precision(model: keras.Model, precision: str) -> None:
    """Sets what a model computes in; its weights are and stay float32.

    Meant for training in mixed precision: set it before the model is split, trained or used (a function that TensorFlow
    has traced keeps the earlier precision), and set "float32" again before the model is saved. All models
    that share layers with this one, such as the parts that `split` gives, are set with it.

    Layers that keep float32 anyhow, the poolings and `Whitening`, are left as they are, with the layers inside of them.
    Train with float16 through a `keras.optimizers.LossScaleOptimizer`; bfloat16 has the range of float32.

    Args:
        model: any model of layers with float32 weights.
        precision: one of `PRECISIONS`.

    Raises:
        ValueError: unknown precision, or a layer with weights of another dtype or with quantised ones.
    """
    check_choice("precision", precision, PRECISIONS)
    layers = _layers(model)
    for layer in layers:
        if layer.variable_dtype != "float32" or layer.quantization_mode:
            raise ValueError(
                "`model` must have float32 weights: build it under one of the policies "
                f"{', '.join(PRECISIONS)}. Received: layer {layer.name!r} with the policy {layer.dtype_policy.name!r}"
            )
    for layer in layers:
        layer.dtype_policy = precision


def _layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layer and those inside of it, but for inputs and what keeps its own precision."""
    if isinstance(layer, (keras.layers.InputLayer, *_KEEPING_FLOAT32)):
        return []
    return [layer, *(inner for child in sublayers(layer) for inner in _layers(child))]
