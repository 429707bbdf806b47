"""Small TFLite files that keep the descriptor: weights of few bits, all arithmetic in float32.

Integer arithmetic, as the converter's full int8 has it, destroys a descriptor in NetVLAD's normalisations. Here weights
alone are stored in few bits, and widened once, when the file is loaded.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from export.converters.tflite_convert import float32_bytes
from export.converters.tflite_quantised import FLOAT16, quantised
from export.quantisation.rounded_model import LARGE, renamed, rounded_model
from export.source import Source


def balanced(source: Source, fixed: bool) -> bytes:
    """Large weights in int8, rounded to the nearest; the small ones, which do most harm, in float16.

    Args:
        source: what is exported.
        fixed: whether the file takes single images of `source.size` and nothing else.

    Returns:
        Content of a TFLite file of about a quarter of float32's size.
    """
    model = renamed(source.model)
    return _stored(model, source, fixed, _large_layers(model))


def small(source: Source, fixed: bool, photos: Iterable[np.ndarray]) -> bytes:
    """Large convolutions and the whitening in int4, small ones in int8: rounded so that the layers' outputs stay.

    Args:
        source: what is exported.
        fixed: whether the file takes single images of `source.size` and nothing else.
        photos: batches of images [batch, height, width, 3], a few dozen of the kind that the file is for.

    Returns:
        Content of a TFLite file of about an eighth of float32's size.
    """
    rounded, bits = rounded_model(source.model, photos)
    return _stored(rounded, source, fixed, _large_layers(rounded) | bits)


def _stored(model: keras.Model, source: Source, fixed: bool, bits: Mapping[str, int]) -> bytes:
    """Converts a model and stores layers in few bits: weights that are on a grid already keep their values.

    Every step is the largest weight of an output divided by the last number of its grid.
    """
    return quantised(float32_bytes(model, source.size, fixed), FLOAT16 + [_rule(*item) for item in bits.items()])


def _rule(layer: str, bits: int) -> dict[str, Any]:
    """Of a layer by its name, which the converter keeps in the names of tensors; later rules win."""
    weights = {"num_bits": bits, "symmetric": True, "granularity": "CHANNELWISE", "dtype": "INT"}
    return {
        "regex": rf"/{layer}(_\d+)?/",
        "operation": "*",
        "algorithm_key": "min_max_uniform_quantize",
        "op_config": {"weight_tensor_config": weights, "compute_precision": "FLOAT", "explicit_dequantize": True},
    }


def _large_layers(model: keras.Model) -> dict[str, int]:
    """8 bits for each layer with large weights, by its name."""
    return {
        layer.name: 8 for layer in model.layers if any(int(np.prod(weight.shape)) >= LARGE for weight in layer.weights)
    }
