"""How a prediction's request and its answer are written: as gRPC does, or in another way."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from tensorflow_serving.apis import predict_pb2

from serving.wire.parsing import is_quick, parse_predict
from serving.wire.tensors import to_proto


class Encoding(Protocol):
    """Reads requests and writes answers."""

    def size(self, data: bytes) -> int:
        """Bytes that a request counts as: parsed, it takes up to about three times as much.

        Args:
            data: as it came.

        Raises:
            RequestError: it is too large for this encoding.
        """

    def is_quick(self, data: bytes) -> bool:
        """Whether a request is parsed within a millisecond."""

    def parse(self, data: bytes) -> predict_pb2.PredictRequest:
        """Parses a request.

        Raises:
            RequestError: it is none.
        """

    def answer(self, name: str, version: int, signature_name: str, outputs: Mapping[str, np.ndarray]) -> bytes:
        """Writes an answer.

        Args:
            name: of the model.
            version: that computed it.
            signature_name: of the signature that was run.
            outputs: output name to values.

        Raises:
            RequestError: the values cannot be written so.
        """


class ProtobufEncoding:
    """PredictRequest and PredictResponse."""

    def size(self, data: bytes) -> int:
        """See `Encoding.size`."""
        return len(data)

    def is_quick(self, data: bytes) -> bool:
        """See `Encoding.is_quick`."""
        return is_quick(data)

    def parse(self, data: bytes) -> predict_pb2.PredictRequest:
        """See `Encoding.parse`."""
        return parse_predict(data)

    def answer(self, name: str, version: int, signature_name: str, outputs: Mapping[str, np.ndarray]) -> bytes:
        """See `Encoding.answer`."""
        response = predict_pb2.PredictResponse()
        response.model_spec.name = name
        response.model_spec.version.value = version
        response.model_spec.signature_name = signature_name
        for alias, array in outputs.items():
            response.outputs[alias].CopyFrom(to_proto(array))
        return response.SerializeToString()
