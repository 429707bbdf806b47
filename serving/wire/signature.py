"""Checks a request against one signature of a SavedModel."""

from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.errors import invalid_argument
from serving.limits import Limits
from serving.wire.tensors import to_array

_SERVING_DTYPE_NAMES = {"float16": "half", "float32": "float", "float64": "double"}


class Signature:
    """Turns a request's inputs and output names into what the graph is fed with and what is fetched from it.

    The checks, their order and their texts are those of TensorFlow Serving (2.20), except the one of the shapes, which
    it leaves to the graph: a graph may broadcast a wrong shape and answer nonsense.

    Args:
        definition: the signature as it stands in `saved_model.pb`.
    """

    def __init__(self, definition: meta_graph_pb2.SignatureDef) -> None:
        self._inputs = dict(definition.inputs)
        self._outputs = dict(definition.outputs)

    def feeds(self, inputs: Mapping[str, tensor_pb2.TensorProto], limits: Limits | None) -> dict[str, np.ndarray]:
        """Reads the inputs of a request.

        Args:
            inputs: input name to tensor, as the client sent them.
            limits: of each tensor; None for a request of one's own.

        Returns:
            Name of a tensor in the graph to its values.

        Raises:
            RequestError: INVALID_ARGUMENT, an input is missing, unknown, not a tensor or beyond the limits.
        """
        self._check_names(set(inputs))
        return {info.name: to_array(alias, inputs[alias], limits) for alias, info in self._inputs.items()}

    def fetches(self, output_filter: Iterable[str]) -> dict[str, str]:
        """Chooses the outputs of a request.

        Args:
            output_filter: names of the wanted outputs; empty for all of them.

        Returns:
            Output name to name of the tensor in the graph.

        Raises:
            RequestError: INVALID_ARGUMENT, an output is unknown or named twice.
        """
        chosen: dict[str, str] = {}
        for alias in output_filter:
            if alias not in self._outputs:
                raise invalid_argument(
                    f"output tensor alias not found in signature: {alias} "
                    f"Outputs expected to be in the set {{{_joined(self._outputs)}}}."
                )
            if alias in chosen:
                raise invalid_argument(f"duplicate output tensor alias: {alias}")
            chosen[alias] = self._outputs[alias].name
        chosen = chosen or {alias: info.name for alias, info in self._outputs.items()}
        _check_tensors(chosen.values())
        return chosen

    def check_feeds(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Compares dtypes and shapes with the signature, and looks for what no graph answers sensibly.

        That is an empty batch, and numbers that are none: a maximum may swallow them, and the answer looks right.

        Args:
            feeds: what `feeds` returned.

        Raises:
            RequestError: INVALID_ARGUMENT, a dtype or a shape differs, or a tensor is empty or has NaN or infinity.
        """
        aliases = {info.name: alias for alias, info in self._inputs.items()}
        # The number in TensorFlow's text counts the inputs in the order of their names in the graph.
        for number, name in enumerate(sorted(feeds)):
            info = self._inputs[aliases[name]]
            array = feeds[name]
            wanted = _dtype_name(info.dtype)
            given = _dtype_name(array.dtype)
            if wanted != given:
                raise invalid_argument(f"Expects arg[{number}] to be {wanted} but {given} is provided")
            if not tf.TensorShape(info.tensor_shape).is_compatible_with(array.shape):
                raise invalid_argument(
                    f'input "{aliases[name]}" does not match signature: expected shape '
                    f"{_shape_text(info.tensor_shape)}, got {list(array.shape)}"
                )
            _check_contents(aliases[name], array)

    def _check_names(self, given: set[str]) -> None:
        expected = set(self._inputs)
        if len(given) != len(expected):
            raise invalid_argument(
                f"input size does not match signature: {len(given)}!={len(expected)} "
                f"len({{{_joined(given)}}}) != len({{{_joined(expected)}}}). "
                f"Sent extra: {{{_joined(given - expected)}}}. "
                f"Missing but required: {{{_joined(expected - given)}}}."
            )
        for alias in sorted(expected - given):
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {self._inputs[alias].name}) not found in request and no "
                f"default value provided. Inputs expected to be in the request {{{_joined(given)}}}, "
                f"or default input alias set: "
            )


def _check_contents(alias: str, array: np.ndarray) -> None:
    if not array.size:
        raise invalid_argument(f'input "{alias}" must not be empty. Received: shape={list(array.shape)}')
    if not np.issubdtype(array.dtype, np.inexact):
        return
    # The sum takes no memory and is finite for all but a few tensors.
    with np.errstate(all="ignore"):
        total = array.sum()
    if np.isfinite(total) or np.isfinite(array).all():
        return
    index = np.argwhere(~np.isfinite(array))[0].tolist()
    raise invalid_argument(f'input "{alias}" must hold finite numbers. Received: {array[*index]} at {index}')


def _check_tensors(names: Iterable[str]) -> None:
    for name in names:
        # A name without an output number is an operation: the initialisation of the SavedModel is such a signature.
        if ":" not in name:
            raise invalid_argument(
                f"Tried to fetch data for '{name}', which produces no output.  To run to a node but not fetch any "
                f"data, pass '{name}' as an argument to the 'target_node_names' argument of the Session::Run API."
            )


def _joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def _dtype_name(dtype: int | np.dtype) -> str:
    name = tf.as_dtype(dtype).name
    return _SERVING_DTYPE_NAMES.get(name, name)


def _shape_text(shape: tensor_shape_pb2.TensorShapeProto) -> str:
    return "[" + ", ".join("?" if dim.size < 0 else str(dim.size) for dim in shape.dim) + "]"
