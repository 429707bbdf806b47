"""From a Keras model to a TensorFlow Lite file in float32."""

import re
from typing import Any

import keras
import tensorflow as tf

from export.converters.tflite_check import check_operations, check_weights
from export.source import Size


class _Module(tf.Module):
    """Holds the variables: given a Keras model, the converter finds none and writes a file that yields NaN."""

    def __init__(self, model: keras.Model, shape: tuple[int | None, ...]) -> None:
        super().__init__(name="embedding")
        self.weights = [variable.value for variable in model.variables]

        @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="images")])
        def embed(images: Any) -> dict[str, Any]:
            return {"embedding": model(images, training=False)}

        self.embed = embed


def float32_bytes(model: keras.Model, size: Size, fixed: bool = False) -> bytes:
    """Converts a model as it is: what all variants start from.

    Args:
        model: images [batch, height, width, 3] to descriptors [batch, dim].
        size: (height, width) of the images, or the limit of their longer side.
        fixed: whether the file takes single images of `size` and nothing else.

    Returns:
        Content of a TFLite file.

    Raises:
        ValueError: `fixed` without a height and a width, or an operation of the model that TFLite does not have.
        RuntimeError: the converter wrote a file that cannot be right.
    """
    if fixed and isinstance(size, int):
        raise ValueError(
            "`fixed` must be False where images keep their aspect ratio, each with a size of its own: give a height "
            f"and a width, or leave the size of the file open. Received: fixed=True, size={size}"
        )
    height, width = (size, size) if isinstance(size, int) else size
    module = _Module(model, (1, height, width, 3) if fixed else (None, None, None, 3))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.embed.get_concrete_function()], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        content = converter.convert()
    except Exception as error:  # The converter's own class is not public.
        foreign = re.findall(r"^(?:TF Select|Custom) ops: (.+)$", str(error), re.MULTILINE)
        if not foreign:
            raise
        raise ValueError(
            "`model` must consist of operations that TFLite has builtin; write the layer that uses the others without "
            f"them, or export a SavedModel. Received: model={model.name!r} with {', '.join(foreign)}"
        ) from error
    check_operations(content)
    check_weights(content, model.count_params())
    return _standing_at(content, height, width)


def _standing_at(content: bytes, height: int, width: int) -> bytes:
    """Sets the size that an open file has before it is resized. The converter's 1x1 is too small for many networks."""
    from ai_edge_litert.schema_py_generated import Model

    changed = bytearray(content)
    graph = Model.GetRootAs(changed).Subgraphs(0)
    graph.Tensors(graph.Inputs(0)).ShapeAsNumpy()[:] = (1, height, width, 3)
    return bytes(changed)
