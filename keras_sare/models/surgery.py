"""Models made of other models: trunk and head, a model with whitening, one with fewer dimensions."""

import itertools
import logging

import keras
import numpy as np

from keras_sare.layers import Whitening
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.choices import check_choice

logger = logging.getLogger(__name__)


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
    check_choice("layer_name", layer_name, names)
    boundary = model.get_layer(layer_name).input
    try:
        head = keras.Model(boundary, model.output, name="head")
    except ValueError as error:
        raise ValueError(
            "`layer_name` must be a layer that all of the model passes through, not one inside a residual block. "
            f"Received: layer_name={layer_name!r}"
        ) from error
    return keras.Model(model.input, boundary, name="trunk"), head


@plain_arguments
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


def without_whitening(model: keras.Model) -> keras.Model:
    """Takes a fitted whitening off the end of a model, to train on: it is fitted anew when the model is trained.

    Args:
        model: functional model.

    Returns:
        The model before its whitening, with the same layers; `model` itself where it ends otherwise, as in an
        end-to-end projection, which is trained with the other layers.
    """
    last = model.layers[-1]
    if not isinstance(last, Whitening) or last.end_to_end:
        return model
    return keras.Model(model.input, last.input, name=model.name)


@plain_arguments
def truncated(model: keras.Model, dim: int) -> keras.Model:
    """Keeps the first dimensions of a model's descriptors, L2-normalised again, for smaller files and indexes.

    The columns of a fitted whitening come by falling variance, so that the first ones hold most. Those of an end-to-end
    projection come in no order, which is warned of.

    Args:
        model: functional model whose last layer is a `Whitening`. Its layers but the last are shared with the result.
        dim: dimensions to keep.

    Returns:
        Model with the same input and descriptors [batch, dim] of norm 1.

    Raises:
        ValueError: the model does not end in a `Whitening`, or `dim` is not between 1 and the model's dimension.
    """
    last = model.layers[-1]
    if not isinstance(last, Whitening):
        raise ValueError(
            "`model` must end in a Whitening layer: the dimensions of other descriptors come in no order, so that none "
            "are the first. Fit a whitening of `dim` dimensions and append it with `with_whitening`. "
            f"Received: a model that ends in {last.name!r}, a {type(last).__name__}"
        )
    if not 1 <= dim <= last.dim:
        raise ValueError(f"`dim` must be between 1 and {last.dim}, what the model has. Received: dim={dim}")
    if last.end_to_end and dim < last.dim:
        logger.warning("The dimensions of an end-to-end projection have no order: the first %d are any %d", dim, dim)
    layer = Whitening.from_config({**last.get_config(), "dim": dim})
    shorter = keras.Model(model.input, layer(last.input), name=model.name)
    for weight, whole in zip(layer.weights, last.weights, strict=True):
        # The projection and the bias lose columns; the mean has one entry per channel.
        weight.assign(whole if weight.name == "mean" else whole[..., :dim])
    return shorter


def freeze_before(model: keras.Model, layer_name: str) -> None:
    """Makes every layer before `layer_name` untrainable and the others trainable.

    A fitted `Whitening` never trains, wherever it stands: its weights are not trainable ones.

    Raises:
        ValueError: no such layer.
    """
    trained = set(split(model, layer_name)[1].layers)
    for layer in model.layers:
        layer.trainable = layer in trained
