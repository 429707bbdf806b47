"""Small TFLite files that keep the descriptor: weights of few bits, all arithmetic in float32.

Integer arithmetic, as the converter's full int8 has it, destroys a descriptor in NetVLAD's normalisations. Here weights
alone are stored in few bits, and widened once, when the file is loaded.
"""

import re
from collections.abc import Iterable, Mapping

import keras
import numpy as np

from export.rounded_model import LARGE, rounded_model
from export.source import Source
from export.tflite_convert import float32_bytes
from export.tflite_quantised import FLOAT16, Recipe, quantised


def balanced(source: Source, fixed: bool) -> bytes:
    """Large weights in int8, rounded to the nearest; the small ones, which do most harm, in float16.

    Args:
        source: what is exported.
        fixed: whether the file takes single images of `source.size` and nothing else.

    Returns:
        Content of a TFLite file of about a quarter of float32's size.
    """
    bits = {layer.name: 8 for layer in source.model.layers if _largest_weight(layer) >= LARGE}
    return quantised(float32_bytes(source.model, source.size, fixed), _recipe(bits, "min_max_uniform_quantize"))


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
    others = {layer.name: 8 for layer in rounded.layers if _largest_weight(layer) >= LARGE and layer.name not in bits}
    recipe = _recipe(bits, "dequantized_weight_recovery") + _rules(others, "min_max_uniform_quantize")
    return quantised(float32_bytes(rounded, source.size, fixed), recipe)


def _recipe(bits: Mapping[str, int], algorithm: str) -> Recipe:
    return FLOAT16 + _rules(bits, algorithm)


def _rules(bits: Mapping[str, int], algorithm: str) -> Recipe:
    """Of layers by their names, which the converter keeps in the names of tensors; later rules win."""
    return [
        {
            "regex": rf"/{re.escape(name)}(_\d+)?/",
            "operation": "*",
            "algorithm_key": algorithm,
            "op_config": {
                "weight_tensor_config": {
                    "num_bits": count,
                    "symmetric": True,
                    "granularity": "CHANNELWISE",
                    "dtype": "INT",
                },
                "compute_precision": "FLOAT",
                "explicit_dequantize": True,
            },
        }
        for name, count in bits.items()
    ]


def _largest_weight(layer: keras.layers.Layer) -> int:
    return max((int(np.prod(weight.shape)) for weight in layer.weights), default=0)
