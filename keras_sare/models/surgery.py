"""Models made of other models: trunk and head, and a model with whitening."""

import keras
import numpy as np

from keras_sare.layers import Whitening


def split(model: keras.Model, layer_name: str) -> tuple[keras.Model, keras.Model]:
    """Splits a model before a layer.

    Args:
        model: functional model.
        layer_name: first layer of the second part, for example "conv5_1".

    Returns:
        (trunk, head) that share the layers of `model`: `head(trunk(x))` is `model(x)`.

    Raises:
        ValueError: no such layer; the message lists the layers.
    """
    names = [layer.name for layer in model.layers[1:]]
    if layer_name not in names:
        raise ValueError(f"`layer_name` must be one of {', '.join(names)}. Received: layer_name={layer_name!r}")
    boundary = model.get_layer(layer_name).input
    return keras.Model(model.input, boundary, name="trunk"), keras.Model(boundary, model.output, name="head")


def with_whitening(model: keras.Model, projection: np.ndarray, bias: np.ndarray, dim: int) -> keras.Model:
    """Appends whitening to a model.

    Args:
        model: model that gives descriptors [batch, channels]. Its layers are shared with the result.
        projection: [channels, at least dim].
        bias: [at least dim].
        dim: output dimension.

    Returns:
        Model with the same input and descriptors [batch, dim] of norm 1.

    Raises:
        ValueError: the arrays do not fit the model or `dim`.
    """
    layer = Whitening(dim, name="whitening")
    whitened = keras.Model(model.input, layer(model.output), name=model.name)
    layer.set_projection(projection, bias)
    return whitened


def freeze_before(model: keras.Model, layer_name: str) -> None:
    """Makes every layer before `layer_name` untrainable and the others trainable.

    Raises:
        ValueError: no such layer.
    """
    trained = set(split(model, layer_name)[1].layers)
    for layer in model.layers:
        layer.trainable = layer in trained
