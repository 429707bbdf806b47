"""JSON that is read into tensors, and JSON that is refused."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import model_pb2

from serving.errors import RequestError
from serving.models.manager import ModelManager
from serving.rest.json_encoding import MAX_VALUES, JsonEncoding
from serving.rest.json_values import read_tensor, written

NUMBERS = ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def number(dtype: str) -> int:
    return int(tf.as_dtype(dtype).as_datatype_enum)


def read(value: Any, dtype: str) -> np.ndarray:
    return tf.make_ndarray(read_tensor("x", value, number(dtype)))


def refusal(value: Any, dtype: str) -> str:
    with pytest.raises(RequestError) as caught:
        read(value, dtype)
    assert caught.value.code.name == "INVALID_ARGUMENT"
    assert len(caught.value.details) < 250
    return caught.value.details.removeprefix('input "x": ')


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 0), (1, 2, 3)])
def test_lists_of_numbers_are_tensors_and_back(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    result = read(array.tolist(), dtype)
    assert result.dtype == array.dtype
    np.testing.assert_array_equal(result, array)
    assert written("x", result) == array.tolist()


def test_integers_are_numbers_of_any_type_and_their_ends_are_kept() -> None:
    np.testing.assert_array_equal(read([1, 2.5], "float32"), [1, 2.5])
    for dtype in NUMBERS[2:]:
        ends = [np.iinfo(dtype).min, np.iinfo(dtype).max]
        assert read(ends, dtype).tolist() == ends
        assert "is not within the range" in refusal([ends[1] + 1], dtype)
        assert "is not within the range" in refusal([ends[0] - 1], dtype)


def test_strings_and_bytes() -> None:
    assert read(["é", {"b64": "AP8="}, {"b64": "AP8"}, ""], "string").tolist() == [
        "é".encode(),
        b"\0\xff",
        b"\0\xff",
        b"",
    ]
    assert read({"b64": ""}, "string").item() == b""
    assert read([True, False], "bool").tolist() == [True, False]


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        ([[1], [1, 2]], "int32", "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
        ([[1], 2], "int32", "JSON Value: 2 found at incorrect level: 2 in the JSON DOM"),
        ([1, [2]], "int32", "JSON Value: [2] Encountered list at unexpected level: 1 expected < 1"),
        ([1.0], "int32", "JSON Value: 1.0 Type: Number is not of expected type: int32"),
        ([True], "float32", "JSON Value: True Type: Bool is not of expected type: float32"),
        ([None], "float32", "JSON Value: None Type: Null is not of expected type: float32"),
        (["1"], "float32", "JSON Value: '1' Type: String is not of expected type: float32"),
        ([1], "string", "JSON Value: 1 Type: Number is not of expected type: string"),
        ([1], "bool", "JSON Value: 1 Type: Number is not of expected type: bool"),
        ([2**24 + 1], "float32", "JSON Value: 16777217 cannot be converted to float32 without loss of precision"),
        ([-(2**53) - 1], "float64", "JSON Value: -9007199254740993 cannot be converted to float64 without loss"),
        ([1e39], "float32", "JSON Value: 1e+39 cannot be converted to float32 without loss of precision"),
        ([float("inf")], "float64", "JSON Value: inf cannot be converted"),
        ([10**400], "float64", "JSON Value: 1000"),
        ([{"b64": "a*"}], "string", "JSON Value: {'b64': 'a*'} is neither text nor base64"),
        (["\ud800"], "string", "JSON Value: '\\ud800' is neither text nor base64"),
        ([{"b64": "", "x": 1}], "string", "JSON Value: {'b64': '', 'x': 1} not formatted correctly for base64 data"),
        ([{"x" * 10**6: "y" * 10**6}], "float32", "JSON Value: {'xxxx"),
    ],
)
def test_values_that_do_not_fit_are_named(value: Any, dtype: str, text: str) -> None:
    assert refusal(value, dtype).startswith(text)


def test_dimensions_are_bounded() -> None:
    value: Any = 1
    for _ in range(33):
        value = [value]
    with pytest.raises(RequestError, match=r'^input "x" must have at most 32 dimensions$'):
        read(value, "int32")
    with pytest.raises(RequestError, match="no conversion of a JSON Value to type: float16") as caught:
        read([1], "float16")
    assert caught.value.code.name == "UNIMPLEMENTED"


@pytest.fixture
def encoding(manager: ModelManager) -> JsonEncoding:
    return JsonEncoding(model_pb2.ModelSpec(name="keras_sare"), manager)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "JSON Parse error: Expecting value"),
        (b"\xff", "JSON Parse error: 'utf-8' codec can't decode"),
        (b'{"instances": [1]', "JSON Parse error: Expecting"),
        (b"[1]", "JSON Value: Is not object"),
        (b"{}", "Missing 'inputs' or 'instances' key"),
        (b'{"inputs": 1, "instances": [1]}', "Not formatted correctly expecting only one of 'inputs' or 'instances'"),
        (b'{"instances": 1}', "Expecting 'instances' to be a list/array"),
        (b'{"instances": []}', "No values in 'instances' array"),
        (b'{"instances": [{"a": 1}]}', "Failed to process element: 0 of 'instances' list. JSON object: keys must be"),
        (b'{"instances": [{"image_bytes": ""}, ""]}', "Expecting object but got list at item 1 of input list"),
        (b'{"inputs": {"a": 1}}', "Missing named input: image_bytes in 'inputs' object."),
        (
            b'{"signature_name": "combine", "instances": [1]}',
            "instances is a plain list, but expecting list of",
        ),
        (b'{"signature_name": "combine", "inputs": [1]}', "inputs is a plain value/list, but expecting an object"),
        (
            b'{"signature_name": 1, "inputs": [1]}',
            "JSON not formatted correctly. 'signature_name' key must be",
        ),
        (b'{"signature_name": "\\ud800", "inputs": [1]}', "JSON not formatted correctly. 'signature_name' key must be"),
        (b'{"inputs": NaN}', "JSON Parse error: NaN is no JSON; numbers must be finite"),
        (b'{"inputs": [-Infinity]}', "JSON Parse error: -Infinity is no JSON; numbers must be finite"),
        (b'{"inputs": 1, "inputs": 2}', "JSON Parse error: an object has a key twice"),
        (b'{"inputs": ' + b"1" * 5000 + b"}", "JSON Parse error: Exceeds the limit"),
        (
            b'{"inputs": ' + b"[" * 10**5 + b"]" * 10**5 + b"}",
            "JSON Parse error: lists and objects are nested",
        ),
    ],
)
def test_bodies_that_are_no_request_are_named(encoding: JsonEncoding, body: bytes, text: str) -> None:
    with pytest.raises(RequestError) as caught:
        encoding.parse(body)
    assert caught.value.code.name == "INVALID_ARGUMENT"
    assert caught.value.details.startswith(text)


@pytest.mark.parametrize("piece", [b"1,", b"[],", b"{},", b"[[[[]]]],"])
def test_values_are_counted_before_they_are_parsed(encoding: JsonEncoding, piece: bytes) -> None:
    with pytest.raises(RequestError, match="^The JSON must hold at most 262144 values") as caught:
        encoding.size(b'{"inputs": [' + piece * (MAX_VALUES + 1) + b"1]}")
    assert caught.value.limit == "json_values"


def test_what_a_body_counts_as_grows_with_its_values_and_wide_characters(encoding: JsonEncoding) -> None:
    assert encoding.size(b'"' + b"a" * 1000 + b'"') == 1002
    assert encoding.size(b"1," * 500) > 10 * 1000
    assert encoding.size("é".encode() * 500) == 4000
