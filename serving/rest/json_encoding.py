"""Predictions in JSON: by rows, `{"instances": [...]}`, or by columns, `{"inputs": ...}`."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow_serving.apis import model_pb2, predict_pb2

from serving.errors import invalid_argument
from serving.models.manager import ModelManager
from serving.models.model import DEFAULT_SIGNATURE
from serving.rest.json_values import is_base64, read_tensor, written

MAX_VALUES = 2**18
"""Numbers and strings in a request, an image of 295 x 295 pixels: all threads wait while they are parsed."""
MAX_LISTS = 2**17
"""Lists in a request, one for each pixel of such an image."""
MAX_OBJECTS = 2**13
"""Objects in a request, one for each file or row."""
# A third of what a value takes in memory; see `Limits.bytes_in_flight`.
_BYTES_A_VALUE = 24
_QUICK_BYTES = 2**14


class JsonEncoding:
    """The encoding of one request: the answer has the form of the question.

    Args:
        spec: the model that the address names.
        manager: knows its signatures.
    """

    def __init__(self, spec: model_pb2.ModelSpec, manager: ModelManager) -> None:
        self._spec = spec
        self._manager = manager
        self._by_rows = False

    def size(self, data: bytes) -> int:
        """See `Encoding.size`."""
        return json_size(data)

    def is_quick(self, data: bytes) -> bool:
        """See `Encoding.is_quick`."""
        return len(data) <= _QUICK_BYTES

    def parse(self, data: bytes) -> predict_pb2.PredictRequest:
        """See `Encoding.parse`."""
        document = parse_document(data)
        request = predict_pb2.PredictRequest(model_spec=self._spec)
        name = document.get("signature_name", "")
        if not isinstance(name, str) or not name.isprintable():
            raise invalid_argument("JSON not formatted correctly. 'signature_name' key must be a string value.")
        request.model_spec.signature_name = name
        dtypes = self._input_types(name or DEFAULT_SIGNATURE)
        if ("instances" in document) == ("inputs" in document):
            raise invalid_argument(
                "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
                if "inputs" in document
                else "Missing 'inputs' or 'instances' key"
            )
        self._by_rows = "instances" in document
        columns = _columns(document["instances"], dtypes) if self._by_rows else _inputs(document["inputs"], dtypes)
        for alias, value in columns.items():
            request.inputs[alias].CopyFrom(read_tensor(alias, value, dtypes[alias]))
        return request

    def answer(self, name: str, version: int, signature_name: str, outputs: Mapping[str, np.ndarray]) -> bytes:
        """See `Encoding.answer`."""
        if self._by_rows:
            _check_rows(outputs)
        values = {alias: written(alias, outputs[alias]) for alias in sorted(outputs)}
        if len(values) == 1:
            (content,) = values.values()
        elif self._by_rows:
            content = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        else:
            content = values
        return json.dumps({"predictions" if self._by_rows else "outputs": content}, allow_nan=False).encode()

    def _input_types(self, signature_name: str) -> dict[str, int]:
        with self._manager.find(self._spec) as model:
            definition = model.signature_defs.get(signature_name)
        if definition is None:
            raise invalid_argument(f'Serving signature name: "{signature_name}" not found in signature def')
        if not definition.inputs:
            raise invalid_argument(f"Failed to get input map for signature: {signature_name}")
        return {alias: info.dtype for alias, info in definition.inputs.items()}


def json_size(data: bytes) -> int:
    """Bytes that JSON counts as: parsed, it takes up to about three times as much.

    Counted without parsing: a value is preceded by a comma, or begins a list or object.

    Raises:
        RequestError: INVALID_ARGUMENT, it holds more values, lists or objects than a request may.
    """
    objects = data.count(b"{")
    values = data.count(b",")
    lists = data.count(b"[")
    if values > MAX_VALUES or lists > MAX_LISTS or objects > MAX_OBJECTS:
        raise invalid_argument(
            f"The JSON must hold at most {MAX_VALUES} values, {MAX_LISTS} lists and {MAX_OBJECTS} objects; send "
            f"images as files in base64, or tensors by gRPC. Received: about {values}, {lists} and {objects}",
            "json_values",
        )
    # Text that is not all ASCII takes four bytes a character.
    return len(data) * (1 if data.isascii() else 4) + _BYTES_A_VALUE * (values + lists + 4 * objects)


def parse_document(data: bytes) -> dict[str, Any]:
    """Parses the JSON of a request, an object.

    Raises:
        RequestError: INVALID_ARGUMENT, it is none, has a key twice or numbers that are not finite.
    """
    try:
        document = json.loads(data.decode(), parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except RecursionError as error:
        raise invalid_argument("JSON Parse error: lists and objects are nested too deeply") from error
    except ValueError as error:
        raise invalid_argument(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise invalid_argument("JSON Value: Is not object")
    return document


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON; numbers must be finite")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _columns(rows: Any, dtypes: Mapping[str, int]) -> dict[str, Any]:
    """The values of each input, out of rows."""
    if not isinstance(rows, list):
        raise invalid_argument("Expecting 'instances' to be a list/array")
    if not rows:
        raise invalid_argument("No values in 'instances' array")
    named = [isinstance(row, dict) and not is_base64(row) for row in rows]
    if not any(named):
        if len(dtypes) > 1:
            raise invalid_argument(
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                "tensorinfo_map"
            )
        return dict.fromkeys(dtypes, rows)
    for number, row in enumerate(rows):
        if not named[number]:
            raise invalid_argument(f"Expecting object but got list at item {number} of input list")
        if row.keys() != dtypes.keys():
            raise invalid_argument(
                f"Failed to process element: {number} of 'instances' list. JSON object: keys must be equal to: "
                f"{','.join(sorted(dtypes))}"
            )
    return {alias: [row[alias] for row in rows] for alias in dtypes}


def _inputs(value: Any, dtypes: Mapping[str, int]) -> dict[str, Any]:
    if not isinstance(value, dict) or is_base64(value):
        if len(dtypes) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        return dict.fromkeys(dtypes, value)
    for alias in dtypes:
        if alias not in value:
            raise invalid_argument(f"Missing named input: {alias} in 'inputs' object.")
    return {alias: value[alias] for alias in dtypes}


def _check_rows(outputs: Mapping[str, np.ndarray]) -> None:
    sizes: set[int] = set()
    for alias, array in outputs.items():
        if not array.ndim:
            raise invalid_argument(f"Tensor name: {alias} has no shape information; ask by columns ('inputs')")
        sizes.add(array.shape[0])
        if len(sizes) > 1:
            raise invalid_argument(
                f"Tensor name: {alias} has inconsistent batch size: {array.shape[0]}; ask by columns ('inputs')"
            )
