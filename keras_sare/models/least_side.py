"""The least height and width of images that a network can describe."""

import keras

from keras_sare.utils.keras_internals import arguments_of

MOST_LEAST_SIDE = 64
"""No network here needs more: they halve their maps five times, or take patches of 14 pixels."""


def least_side(model: keras.Model) -> int:
    """Finds the least height and width at which every feature map of a model has a row and a column.

    Below that a pooled descriptor is made of nothing: NaN, a zero vector, or an error of the library that computes it,
    depending on the layer and the processor. Shapes alone are computed, no image.

    Args:
        model: images or maps [batch, height, width, channels] to anything, a functional model.

    Returns:
        Pixels, at least 1; 1 too for a model that takes images of one size only.
    """
    if None not in model.inputs[0].shape[1:3]:
        return 1
    shapes = keras.Model(model.inputs[0], _maps(model))
    low = 1
    high = MOST_LEAST_SIDE
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _fits(shapes, middle) else (middle + 1, high)
    return low


def _maps(model: keras.Model) -> list[keras.KerasTensor]:
    """The feature maps between a model's images and its outputs.

    `layer.output` would be that of the layer's first use: of the whole network, where the model is a part of it.
    """
    found: dict[int, keras.KerasTensor] = {}
    ends = {id(one) for one in model.inputs}
    waiting = list(model.outputs)
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in found:
            continue
        found[id(tensor)] = tensor
        if id(tensor) not in ends:
            waiting += arguments_of(tensor)
    return [tensor for tensor in found.values() if len(tensor.shape) == 4]


def _fits(shapes: keras.Model, side: int) -> bool:
    try:
        outputs = shapes.compute_output_spec(keras.KerasTensor((1, side, side, shapes.inputs[0].shape[-1])))
    except (ValueError, RuntimeError):
        return False
    return all(min(one.shape[1:3]) >= 1 for one in (outputs if isinstance(outputs, list) else [outputs]))
