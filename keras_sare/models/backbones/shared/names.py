"""Networks under stable layer names, and their ends."""

import re
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from keras_sare.utils.choices import check_choice


def stable_names(network: keras.Model) -> dict[str, str]:
    """New names of those layers of a network that need one, by their names in keras.applications.

    VGG16's layers are called as in the papers: conv1_1 to conv5_3, pool1 to pool5. Layers without a name are counted
    from the first of the network; Keras counts them from the first of the session.
    """
    names = {}
    for layer in network.layers:
        names[layer.name] = re.sub(
            r"^block(\d)_pool$", r"pool\1", re.sub(r"^block(\d)_conv(\d)$", r"conv\1_\2", layer.name)
        )
    for prefix in ("re_lu", "activation"):
        unnamed = [layer.name for layer in network.layers if re.fullmatch(rf"{prefix}(_\d+)?", layer.name)]
        names |= {name: f"{prefix}_{i}" if i else prefix for i, name in enumerate(unnamed)}
    return {old: new for old, new in names.items() if old != new}


def with_stable_names(network: keras.Model) -> keras.Model:
    """Copies a network, without its weights, under `stable_names`; returns it as it is where it has them already."""
    names = stable_names(network)
    return _clone(network, lambda layer: {"name": names.get(layer.name, layer.name)}) if names else network


def cut_network(network: keras.Model, cut: str, relu: bool) -> keras.Model:
    """Ends a network at a layer.

    Args:
        network: functional model.
        cut: name of the last layer that is kept.
        relu: whether the activation of that layer stays.

    Returns:
        Model with the same input; its layers are shared with `network` unless an activation had to be removed.

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
    linear = _clone(network, lambda layer: {"activation": "linear"} if layer is last else {})
    return keras.Model(linear.inputs[0], linear.get_layer(cut).output)


def _clone(network: keras.Model, change: Callable[[layers.Layer], dict[str, Any]]) -> keras.Model:
    """Copies a network without its weights; `change` gives what is new in a layer's configuration."""
    return keras.models.clone_model(
        network, clone_function=lambda layer: layer.__class__.from_config(layer.get_config() | change(layer))
    )
