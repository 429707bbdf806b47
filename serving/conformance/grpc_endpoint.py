"""An endpoint that speaks gRPC, asked through the stubs of tensorflow-serving-api."""

from collections.abc import Iterable
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.conformance.behaviour import PHOTO, DiffersError, MissingError

SIGNATURE = "serving_default"
_SECONDS = 60
_SIDE = 32


class GrpcEndpoint:
    """Asks a server.

    Args:
        channel: to it.
        model: name of a model that it serves.
        metadata: of each call, such as a token.

    Raises:
        ConnectionError: the server does not answer, or does not serve the model.
    """

    def __init__(self, channel: grpc.Channel, model: str, metadata: Iterable[tuple[str, str]] = ()) -> None:
        self.model = model
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)
        self._metadata = list(metadata)
        response = self._first(get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"]))
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        self.version = int(response.model_spec.version.value)
        self.inputs = dict(signatures.signature_def[SIGNATURE].inputs)
        self.outputs = sorted(signatures.signature_def[SIGNATURE].outputs)

    def named(self, request: Any, **spec: Any) -> Any:
        """A request with the model's name in it, or what `spec` says instead."""
        request.model_spec.name = spec.get("name", self.model)
        request.model_spec.signature_name = spec.get("signature", "")
        if "version" in spec:
            request.model_spec.version.value = spec["version"]
        if "label" in spec:
            request.model_spec.version_label = spec["label"]
        return request

    def predict_request(self, with_inputs: bool = True, outputs: Iterable[str] = (), **spec: Any) -> Any:
        """A prediction of one photo, or of zeros."""
        request = self.named(predict_pb2.PredictRequest(output_filter=outputs), **spec)
        for alias, info in self.inputs.items() if with_inputs else ():
            request.inputs[alias].CopyFrom(_sample(info))
        return request

    def metadata_request(self, *fields: str, **spec: Any) -> Any:
        """A question for metadata."""
        return self.named(get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields), **spec)

    def status_request(self, **spec: Any) -> Any:
        """A question for the states of versions."""
        return self.named(get_model_status_pb2.GetModelStatusRequest(), **spec)

    def call(self, method: Any, request: Any) -> Any:
        """The answer.

        Raises:
            DiffersError: it is an error.
            MissingError: the method is not offered.
        """
        try:
            return method(request, timeout=_SECONDS, metadata=self._metadata)
        except grpc.RpcError as error:
            self._check_offered(error)
            raise DiffersError(f"expected an answer, received {error.code().name}: {error.details()}") from error

    def refusal(self, method: Any, request: Any) -> tuple[str, str]:
        """Name of the code and text of the error that the answer must be.

        Raises:
            DiffersError: it is none.
            MissingError: the method is not offered.
        """
        try:
            method(request, timeout=_SECONDS, metadata=self._metadata)
        except grpc.RpcError as error:
            self._check_offered(error)
            return error.code().name, error.details()
        raise DiffersError("expected an error, received an answer")

    def _first(self, request: Any) -> Any:
        try:
            return self.predictions.GetModelMetadata(self.named(request), timeout=_SECONDS, metadata=self._metadata)
        except grpc.RpcError as error:
            raise ConnectionError(
                f"`address` must be that of a server that serves `model`. Received: model={self.model}, which is "
                f"answered with {error.code().name}: {error.details()}"
            ) from error

    def _check_offered(self, error: grpc.RpcError) -> None:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise MissingError(error.details()) from error


def _sample(info: Any) -> tensor_pb2.TensorProto:
    sizes = [dim.size for dim in info.tensor_shape.dim]
    batch = [1 if size < 0 and number == 0 else size for number, size in enumerate(sizes)]
    shape = [_SIDE if size < 0 else size for size in batch]
    dtype = tf.as_dtype(info.dtype)
    if dtype == tf.string:
        return tf.make_tensor_proto(np.full(shape, PHOTO, object), dtype)
    return tf.make_tensor_proto(np.zeros(shape, dtype.as_numpy_dtype), dtype)
