"""Models made of other models: trunk and head, and a model with whitening."""

import itertools

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
        ValueError: no such layer (the message lists the layers), or one inside a block that something bypasses.
    """
    names = [layer.name for layer in model.layers[1:]]
    if layer_name not in names:
        raise ValueError(f"`layer_name` must be one of {', '.join(names)}. Received: layer_name={layer_name!r}")
    boundary = model.get_layer(layer_name).input
    try:
        head = keras.Model(boundary, model.output, name="head")
    except ValueError as error:
        raise ValueError(
            "`layer_name` must be a layer that all of the model passes through, not one inside a residual block. "
            f"Received: layer_name={layer_name!r}"
        ) from error
    return keras.Model(model.input, boundary, name="trunk"), head


def with_whitening(
    model: keras.Model, projection: np.ndarray, bias: np.ndarray, dim: int, mean: np.ndarray | None = None
) -> keras.Model:
    """Appends whitening to a model, as layer "whitening", or "whitening_2" where it has one already.

    Args:
        model: model that gives descriptors [batch, channels]. Its layers are shared with the result.
        projection: [channels, at least dim].
        bias: [at least dim].
        dim: output dimension.
        mean: [channels], the mean of the descriptors, where it is known: it keeps digits, see `Whitening`.

    Returns:
        Model with the same input and descriptors [batch, dim] of norm 1.

    Raises:
        ValueError: the arrays do not fit the model or `dim`.
    """
    taken = {layer.name for layer in model.layers}
    names = itertools.chain(["whitening"], (f"whitening_{i}" for i in itertools.count(2)))
    layer = Whitening(dim, name=next(name for name in names if name not in taken))
    whitened = keras.Model(model.input, layer(model.output), name=model.name)
    layer.set_projection(projection, bias, mean)
    return whitened


def freeze_before(model: keras.Model, layer_name: str) -> None:
    """Makes every layer before `layer_name` untrainable and the others trainable.

    A fitted `Whitening` never trains, wherever it stands: its weights are not trainable ones.

    Raises:
        ValueError: no such layer.
    """
    trained = set(split(model, layer_name)[1].layers)
    for layer in model.layers:
        layer.trainable = layer in trained
