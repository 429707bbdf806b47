"""The gRPC services of TensorFlow Serving, as far as they are offered: Predict, GetModelMetadata, GetModelStatus."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.errors import RequestError, invalid_argument
from serving.limits import Limits
from serving.models.manager import ModelManager
from serving.models.model import DEFAULT_SIGNATURE
from serving.wire.tensors import to_proto

logger = logging.getLogger(__name__)
SIGNATURE_FIELD = "signature_def"


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Runs signatures and describes them.

    Args:
        manager: where the model versions come from.
        limits: of each request.
    """

    def __init__(self, manager: ModelManager, limits: Limits) -> None:
        self._manager = manager
        self._limits = limits
        self._under_way = 0
        self._changed = threading.Condition()

    def wait_until_idle(self, timeout: float) -> bool:
        """Waits until no request is computed any more.

        Args:
            timeout: seconds to wait.

        Returns:
            Whether that was so in time.
        """
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, timeout)

    def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Runs one signature on the tensors of the request."""
        with self._counted(), _answering("Predict", context):
            _check_spec(request)
            _check_waiting(context)
            with self._manager.find(request.model_spec) as model:
                signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
                outputs = model.predict(
                    signature_name, request.inputs, request.output_filter, self._limits, context.time_remaining
                )
                response = predict_pb2.PredictResponse()
                response.model_spec.name = request.model_spec.name
                response.model_spec.version.value = model.version
                response.model_spec.signature_name = signature_name
                for name, array in outputs.items():
                    response.outputs[name].CopyFrom(to_proto(array))
                return response

    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Returns the signatures as they stand in the SavedModel."""
        with _answering("GetModelMetadata", context):
            _check_spec(request)
            _check_fields(request.metadata_field)
            with self._manager.find(request.model_spec) as model:
                signatures = get_model_metadata_pb2.SignatureDefMap()
                for name, definition in model.signature_defs.items():
                    signatures.signature_def[name].CopyFrom(definition)
                response = get_model_metadata_pb2.GetModelMetadataResponse()
                response.model_spec.name = request.model_spec.name
                response.model_spec.version.value = model.version
                response.metadata[SIGNATURE_FIELD].Pack(signatures)
                return response

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._changed:
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Tells which versions can be asked for.

    Args:
        manager: where the model versions come from.
    """

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager

    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Returns the state of each version asked for."""
        with _answering("GetModelStatus", context):
            _check_spec(request)
            response = get_model_status_pb2.GetModelStatusResponse()
            for version in self._manager.statuses(request.model_spec):
                status = response.model_version_status.add(version=version.version, state=int(version.state))
                # A healthy version carries an empty status, which is not the same as none.
                status.status.SetInParent()
                if version.error is not None:
                    status.status.error_code = version.error.code.value[0]
                    status.status.error_message = version.error.details
            return response


@contextmanager
def _answering(method: str, context: grpc.ServicerContext) -> Iterator[None]:
    try:
        yield
    except RequestError as error:
        logger.info("%s failed: %s: %s", method, error.code.name, error.details)
        context.abort(error.code, error.details)


def _check_spec(request: Any) -> None:
    if isinstance(request, RequestError):  # In place of a request that was not parsed.
        raise request
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")


def _check_fields(fields: Any) -> None:
    if not fields:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in fields:
        if field != SIGNATURE_FIELD:
            raise invalid_argument(f"Metadata field {field} is not supported")


def _check_waiting(context: grpc.ServicerContext) -> None:
    # A request may outlive its client in the queue; computing it would only delay those still waited for.
    if context.time_remaining() <= 0:
        raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "The deadline was over before the computation began")
    if not context.is_active():
        raise RequestError(grpc.StatusCode.CANCELLED, "The client no longer waits for this request")
