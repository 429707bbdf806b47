"""TensorFlow Lite files with smaller weights, made from one in float32 by recipes of ai-edge-quantizer."""

import contextlib
import io
from typing import Any

Recipe = list[dict[str, Any]]
"""A recipe in ai-edge-quantizer's JSON format: what is done to which operations."""


def _of_all_weights(algorithm: str, compute_precision: str, **weights: Any) -> Recipe:
    config = {"weight_tensor_config": weights, "compute_precision": compute_precision}
    return [{"regex": ".*", "operation": "*", "algorithm_key": algorithm, "op_config": config}]


FLOAT16 = _of_all_weights("float_casting", "FLOAT", num_bits=16, dtype="FLOAT")
"""Matrices and kernels in float16, computed in float32.

Not by TensorFlow's converter, which rounds all constants: in float16 the 1e-12 of the L2 normalisations is 0, so
NetVLAD's nearly empty clusters come out at full length."""

DYNAMIC_INT8 = _of_all_weights(
    "min_max_uniform_quantize", "INTEGER", num_bits=8, dtype="INT", symmetric=True, granularity="CHANNELWISE"
)
"""Matrices and kernels in int8, one scale for each output; what they are multiplied with is rounded as it comes."""


def quantised(content: bytes, recipe: Recipe) -> bytes:
    """Applies a recipe that needs no calibration to a TFLite file.

    Args:
        content: of a file in float32.
        recipe: for example `FLOAT16`; see `ai_edge_quantizer.recipe` for others.

    Returns:
        Content of the new file, with the same inputs and outputs.

    Raises:
        ImportError: ai-edge-quantizer is not installed.
    """
    try:
        from ai_edge_quantizer.quantizer import Quantizer
    except ImportError as error:
        raise ImportError('Small TFLite files need ai-edge-quantizer: pip install "keras-sare[export]"') from error
    quantizer = Quantizer(bytearray(content))
    quantizer.load_quantization_recipe(recipe)
    # Part of it takes no notice of `enable_progress_bar` and shows a bar for what takes moments.
    with contextlib.redirect_stderr(io.StringIO()):
        result = quantizer.quantize(enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)
