"""What Keras has no public name for, in one place: its own attributes may change with a version, and a test tells."""

from collections.abc import Iterable
from typing import Any

import keras


def sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers that a layer is made of, without those inside of them."""
    return list(layer._layers)


def all_layers(layer: keras.layers.Layer) -> Iterable[keras.layers.Layer]:
    """A layer, those that it is made of, and those inside of them."""
    return layer._flatten_layers()


def arguments_of(tensor: keras.KerasTensor) -> list[keras.KerasTensor]:
    """The tensors that a tensor of a functional model is computed from; none for an input of a model.

    `layer.input` would be that of the layer's first use, which may be in another model.
    """
    operation, node, _ = tensor._keras_history
    return list(operation._inbound_nodes[node].input_tensors)


def mask_of(tensor: Any) -> Any | None:
    """The mask that a layer such as `keras.layers.Masking` has put on a tensor; None where there is none."""
    return getattr(tensor, "_keras_mask", None)
