"""Networks under stable layer names, and their ends."""

import re

import keras
from keras import layers

from keras_sare.utils.choices import check_choice


def stable_names(network: keras.Model) -> dict[str, str]:
    """New names of those layers of a network that keras.applications gives none, by those that Keras gave them.

    They are counted from the first of the network; Keras counts them from the first of the session.
    """
    names: dict[str, str] = {}
    for prefix in ("re_lu", "activation"):
        unnamed = [layer.name for layer in network.layers if re.fullmatch(rf"{prefix}(_\d+)?", layer.name)]
        names |= {name: f"{prefix}_{i}" if i else prefix for i, name in enumerate(unnamed)}
    return {old: new for old, new in names.items() if old != new}


def with_stable_names(network: keras.Model) -> keras.Model:
    """Gives the layers of a new network their `stable_names`, and returns it. They have no weights to be named too."""
    names = stable_names(network)
    for layer in network.layers:
        layer.name = names.get(layer.name, layer.name)
    return network


def cut_network(network: keras.Model, cut: str, relu: bool) -> keras.Model:
    """Ends a network at a layer.

    Args:
        network: functional model.
        cut: name of the last layer that is kept.
        relu: whether the activation of that layer stays.

    Returns:
        Model with the same input; its layers are shared with `network`, but for one whose activation had to be removed:
        that one is new, without the weights.

    Raises:
        ValueError: no such layer, or it has no activation that could be removed.
    """
    names = [layer.name for layer in network.layers[1:]]
    check_choice("cut", cut, names)
    last = network.get_layer(cut)
    if relu:
        return keras.Model(network.inputs[0], last.output)
    if isinstance(last, layers.Activation | layers.ReLU):
        return keras.Model(network.inputs[0], last.input)
    if not hasattr(last, "activation"):
        raise ValueError(f"`relu` must be True where the layer has no activation to remove. Received: cut={cut!r}")
    linear = last.__class__.from_config(last.get_config() | {"activation": "linear"})
    return keras.Model(network.inputs[0], linear(last.input))
