"""Replays the requests that lie in a version folder, so that the first client need not wait for what they warm up."""

import logging
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.errors import RequestError
from serving.models.model import DEFAULT_SIGNATURE, ServedModel

logger = logging.getLogger(__name__)

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
"""Below the folder of a version: a TFRecord file of PredictionLog messages."""
MAX_RECORDS = 1000
MAX_RECORD_BYTES = 2**28
# Bytes of a record and a checksum of that number; another checksum follows the record.
_HEADER = struct.Struct("<QI")
_CHECKSUM_BYTES = 4


def replay_warmup(folder: Path, model: ServedModel) -> int:
    """Sends a model the requests that lie in its folder, one after the other.

    Args:
        folder: of the version. Nothing is done where it holds no requests.
        model: of that folder.

    Returns:
        How many requests were answered.

    Raises:
        ValueError: the file is damaged or too large, or a request fails.
    """
    path = folder / WARMUP_FILE
    if not path.is_file():
        return 0
    answered = 0
    for number, record in enumerate(_records(path)):
        try:
            answered += _replay(record, model)
        except (DecodeError, RequestError) as error:
            raise _refused(path, f"whose record {number} fails with: {error}") from error
    logger.info("%d warm-up requests of %s were answered", answered, folder)
    return answered


def _replay(record: bytes, model: ServedModel) -> bool:
    log = prediction_log_pb2.PredictionLog.FromString(record)
    kind = log.WhichOneof("log_type")
    if kind != "predict_log":
        logger.warning("A warm-up record is left out: this server does not answer requests of the kind %s", kind)
        return False
    request = log.predict_log.request
    signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
    model.predict(signature, request.inputs, request.output_filter, limits=None)
    return True


def _records(path: Path) -> Iterator[bytes]:
    """The records of a file, one at a time."""
    _check_lengths(path)
    try:
        yield from tf.data.TFRecordDataset(os.fspath(path)).as_numpy_iterator()
    except tf.errors.DataLossError as error:
        raise _refused(path, "which is damaged") from error


def _check_lengths(path: Path) -> None:
    """TensorFlow allocates as much as a record says it has, so that is looked at first."""
    end = os.path.getsize(path)
    position = 0
    records = 0
    with open(path, "rb") as file:
        while position < end:
            header = file.read(_HEADER.size)
            size = _HEADER.unpack(header)[0] if len(header) == _HEADER.size else end
            position += _HEADER.size + size + _CHECKSUM_BYTES
            if position > end:
                raise _refused(path, "which is cut")
            records += 1
            if records > MAX_RECORDS or size > MAX_RECORD_BYTES:
                raise _refused(path, f"whose record {records - 1} has {size} bytes")
            file.seek(position)


def _refused(path: Path, why: str) -> ValueError:
    return ValueError(
        f"`folder` must hold warm-up requests that the model answers: a TFRecord file of at most {MAX_RECORDS} "
        f"PredictionLog messages of at most {MAX_RECORD_BYTES} bytes. Export the model again, or remove the file. "
        f"Received: {path}, {why}"
    )
