"""Requests on the wire: parsed only where that takes no more than a few times the memory of their bytes.

A field of two bytes may become an object of a hundred: 64 MiB of empty ones would take gigabytes before any other check
could refuse them. So the fields are counted first. Methods that are not offered are not parsed at all.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from tensorflow_serving.apis import predict_pb2

from serving.errors import RequestError, invalid_argument

M = TypeVar("M", bound=Message)
T = TypeVar("T")

MAX_FIELDS = 2**14
"""Fields in a request, with those of its tensors and shapes; numbers are one field a tensor, as clients pack them."""
MAX_SMALL_BYTES = 2**16
"""Bytes of a request that holds no tensors."""
_QUICK_FIELDS = 256
_QUICK_BYTES = 2**20

# By their numbers in TensorFlow's definitions, what is inside a field: those of its fields that are counted.
_Fields = Mapping[int, Any]
_SHAPE: _Fields = {}
_HANDLES = None  # Resources and variants, which mean something in their own process alone.
_TENSOR: _Fields = {2: _SHAPE, 14: _HANDLES, 15: _HANDLES}
_INPUT: _Fields = {2: _TENSOR}
_PREDICT: _Fields = {1: {}, 2: _INPUT, 5: {}, 7: {}}


def parse_predict(data: bytes) -> predict_pb2.PredictRequest:
    """Parses a PredictRequest.

    Args:
        data: as it came.

    Raises:
        RequestError: INVALID_ARGUMENT, it is none, or has too many fields.
    """
    try:
        _check_fields(memoryview(data), _PREDICT, MAX_FIELDS)
        return predict_pb2.PredictRequest.FromString(data)
    except (DecodeError, IndexError) as error:
        raise invalid_argument("The request is no PredictRequest") from error


def is_quick(data: bytes) -> bool:
    """Whether a PredictRequest is parsed within a millisecond.

    Args:
        data: as it came.
    """
    if len(data) > _QUICK_BYTES:
        return False
    try:
        _check_fields(memoryview(data), _PREDICT, _QUICK_FIELDS)
    except (RequestError, IndexError):
        return False
    return True


def parse_bounded(message: type[M], data: bytes, most: int) -> M:
    """Parses a request of any size, of which the fields are counted first.

    Args:
        message: its type. Fields inside of its fields do not count: it has no messages in it.
        data: as it came.
        most: fields that it may have.

    Raises:
        RequestError: INVALID_ARGUMENT, it is none, or has too many fields.
    """
    try:
        _check_fields(memoryview(data), {}, most)
        return message.FromString(data)
    except (DecodeError, IndexError) as error:
        raise invalid_argument(f"The request is no {message.DESCRIPTOR.name}") from error


def parse_small(message: type[M], data: bytes) -> M:
    """Parses a request that holds no tensors.

    Args:
        message: its type.
        data: as it came.

    Raises:
        RequestError: INVALID_ARGUMENT, it is none, or has too many bytes.
    """
    return read_small(message.FromString, data, f"The request is no {message.DESCRIPTOR.name}")


def read_small(read: Callable[[bytes], T], data: bytes, otherwise: str) -> T:
    """As `parse_small`, of a message of which only the reader is known.

    Args:
        read: returns the message, or raises DecodeError.
        data: as it came.
        otherwise: what the error says where it is none.

    Raises:
        RequestError: see `parse_small`.
    """
    if len(data) > MAX_SMALL_BYTES:
        raise invalid_argument(f"The request must have at most {MAX_SMALL_BYTES} bytes")
    try:
        return read(data)
    except DecodeError as error:
        raise invalid_argument(otherwise) from error


def _check_fields(data: memoryview, inside: _Fields, left: int) -> int:
    """Counts fields, those inside them too.

    Returns:
        How many more there may be.
    """
    for number, contents in _fields(data):
        left -= 1
        if left < 0:
            raise invalid_argument(f"The request must have at most {MAX_FIELDS} fields; send numbers packed")
        if number in inside:
            if inside[number] is None:
                raise invalid_argument("tensor parsing error: resources and variants cannot be sent")
            left = _check_fields(contents, inside[number], left)
    return left


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and contents of each field; of numbers no contents."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        kind = tag & 7
        size = 0
        if kind == 0:
            _, position = _varint(data, position)
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        elif kind == 2:
            size, position = _varint(data, position)
        else:
            raise invalid_argument("The request must have no groups")
        yield tag >> 3, data[position : position + size]
        position += size


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise invalid_argument("The request has a number of more than 64 bits")
