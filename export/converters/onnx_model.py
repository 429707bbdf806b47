"""ONNX file of a model, for ONNX Runtime and whatever else reads the format.

It has one input, `images` float32 [batch, height, width, 3] RGB in 0..255, and one output, `embedding` float32
[batch, dim], rows of norm 1; preprocessing and whitening are inside. tf2onnx converts TensorFlow's graph: its own
`from_keras` does not know Keras 3, and Keras's `export(format="onnx")`, which calls tf2onnx too, names the output
after the graph and wants a model that has been called.
"""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from export.fidelity.runtime import Runtime
from export.quantisation.sample_photos import sample_photo
from export.source import Source
from keras_sare.datasets import decode_image
from keras_sare.utils.files import atomic_path

MIN_COSINE = 0.9999
OPSET = 15
"""Operator set, that of ONNX 1.10 (2021): old enough for every runtime in use, and what tf2onnx is tested most with."""

_MAX_BYTES = 2**31 - 2**20  # A file is one protobuf message, below 2 GiB; the operations take a few hundred kB.
_LARGE_MATRIX = 2**20  # Entries.
_TRIED_SIDE = 224

logger = logging.getLogger("keras_sare.export")


def write_onnx(source: Source, path: Path) -> None:
    """Writes a model as an ONNX file, after comparing it with the Keras model in ONNX Runtime.

    It takes batches of any number of images of any size that the model takes.

    Args:
        source: what is exported.
        path: the file. It appears whole, or not at all.

    Raises:
        ImportError: the packages are not installed; the message has the line to install them with.
        ValueError: the model's weights exceed the 2 GiB that one file can hold.
        RuntimeError: the model has an operation that ONNX lacks, or the file's descriptors differ from the model's
            (cosine below 0.9999).
    """
    onnx, tf2onnx = _packages()
    stored = 4 * source.model.count_params()
    if stored > _MAX_BYTES:
        raise ValueError(
            "`source` must have weights of less than 2 GiB, all that an ONNX file holds. Leave out ONNX, or export "
            f"fewer dimensions (--dim). Received: source.name={source.name!r} with {stored / 2**30:.2f} GiB"
        )
    with atomic_path(path) as temporary:
        onnx.save(_convert(onnx, tf2onnx, source.model), str(temporary))
        try:
            onnx.checker.check_model(str(temporary), full_check=True)
        except onnx.checker.ValidationError as error:
            raise RuntimeError(
                "The model has an operation that ONNX lacks. Export it as a SavedModel or TFLite file. "
                f"Received: source.name={source.name!r}, {str(error).splitlines()[0]}"
            ) from error
        _check(source, temporary)


def _packages() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime  # noqa: F401 - what the file is checked with, in another process.
        import tf2onnx
    except ImportError as error:
        raise ImportError(
            f'ONNX files need a package that is not installed ({error}): pip install "keras-sare[onnx]"'
        ) from error
    return onnx, tf2onnx


def _convert(onnx: Any, tf2onnx: Any, model: keras.Model) -> Any:
    """Returns the `onnx.ModelProto`.

    tf2onnx copies all weights several times for each of its optimisations, some twenty times in all: for a whitening of
    32768 x 4096 more than 13 GB. So large matrices are inputs of what it converts, and are put in their place after it.
    """
    large = [weight for weight in model.weights if len(weight.shape) == 2 and np.prod(weight.shape) > _LARGE_MATRIX]
    specs = [tf.TensorSpec(weight.shape, weight.dtype, name=f"matrix_{i}") for i, weight in enumerate(large)]

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, name="images"), *specs])
    def embed(images: Any, *matrices: Any) -> dict[str, Any]:
        with keras.StatelessScope(list(zip(large, matrices, strict=True))):
            return {"embedding": model(images, training=False)}

    with _quiet("tf2onnx"):
        converted, _ = tf2onnx.convert.from_function(embed, embed.input_signature, opset=OPSET)
    graph = converted.graph
    del graph.input[1:]
    for spec, weight in zip(specs, large, strict=True):
        graph.initializer.append(onnx.numpy_helper.from_array(keras.ops.convert_to_numpy(weight), spec.name))
    # In place of numbers, which change from one conversion to the next.
    for value, names in ((graph.input[0], ("batch", "height", "width")), (graph.output[0], ("batch",))):
        for side, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
            side.dim_param = name
    return converted


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Hides a logger's messages: tf2onnx logs with a traceback each optimisation that it cannot apply, and goes on.

    One of them is moving the transpositions of MobileNet's layout out of the way, which ONNX Runtime does itself. An
    operation that cannot be converted shows when the file is checked.
    """
    loud = logging.getLogger(name)
    level = loud.level
    loud.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        loud.setLevel(level)


def _check(source: Source, path: Path) -> None:
    with Runtime("onnx", path) as runtime:
        cosine = min(
            _smallest_cosine(keras.ops.convert_to_numpy(source.model(photos, training=False)), runtime.extract(photos))
            for photos in sample_batches(source)
        )
    if not cosine >= MIN_COSINE:
        raise RuntimeError(
            f"The ONNX file must agree with the Keras model to a cosine of {MIN_COSINE}. Received: "
            f"cosine={cosine:.6f} for {source.name!r}. Nothing was exported; please report this as a bug."
        )
    logger.info("The ONNX file agrees with the Keras model to a cosine of %.6f", cosine)


def _smallest_cosine(expected: np.ndarray, descriptors: np.ndarray) -> float:
    return float(np.sum(expected * descriptors, axis=1).min())


def sample_batches(source: Source) -> Iterator[np.ndarray]:
    """One photo upright, then two lying: another size, so that no size is left in the graph from the conversion."""
    size = source.size
    (height, width) = source.model.input.shape[1:3]
    longer = min(size, _TRIED_SIDE) if isinstance(size, int) else max(size)
    shorter = 3 * longer // 4 if isinstance(size, int) or size[0] == size[1] else min(size)
    for count, sides in ((1, (longer, shorter)), (2, (shorter, longer))):
        shape = height or sides[0], width or sides[1]  # A model may take one size only.
        yield np.stack([decode_image(tf.constant(sample_photo(i, shape)), shape).numpy() for i in range(count)])
