"""The gRPC services of TensorFlow Serving, as far as they are offered: prediction, and what is served."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
)

from serving.errors import RequestError, invalid_argument
from serving.limits import Limits
from serving.models.batch import bucket, predict_batch
from serving.models.manager import ModelManager
from serving.models.model import DEFAULT_SIGNATURE, ServedModel
from serving.rpc.calls import Call
from serving.rpc.encoding import Encoding, ProtobufEncoding
from serving.scheduling.admission import Admission, Ticket
from serving.scheduling.batching import Batcher, BatchingParameters, Task
from serving.scheduling.quota import Quota
from serving.wire.parsing import parse_small
from serving.wire.tensors import images_in

SIGNATURE_FIELD = "signature_def"
_PARSERS = 2
_PROTOBUF = ProtobufEncoding()


class PredictionService:
    """Runs signatures and describes them.

    Args:
        manager: where the model versions come from.
        limits: of each request.
        admission: which predictions are let in.
        quota: of each client.
        batching: how requests are computed together; None for one by one.
    """

    # Imported from there, reflection knows its messages.
    name = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"].full_name

    def __init__(
        self,
        manager: ModelManager,
        limits: Limits,
        admission: Admission,
        quota: Quota,
        batching: BatchingParameters | None = None,
    ) -> None:
        self._manager = manager
        self._limits = limits
        self._admission = admission
        self._quota = quota
        self._batcher = None if batching is None else Batcher(admission, batching)
        # Apart from the workers: a wrong request is refused also while all of them compute.
        self._parsers = ThreadPoolExecutor(_PARSERS, thread_name_prefix="parsing")

    @property
    def methods(self) -> dict[str, Callable[[Call], Awaitable[bytes]]]:
        """What answers each method."""
        return {
            "Predict": self.predict,
            "GetModelMetadata": self.metadata,
            "Classify": _not_offered("Classify", "a signature of method tensorflow/serving/classify"),
            "Regress": _not_offered("Regress", "a signature of method tensorflow/serving/regress"),
            "MultiInference": _not_offered("MultiInference", "signatures for classification or regression"),
        }

    async def predict(self, call: Call, encoding: Encoding = _PROTOBUF) -> bytes:
        """Runs one signature on the tensors of the request.

        Args:
            call: the call.
            encoding: of the request and the answer.
        """
        with self._quota.request(call.client):
            data = await call.receive()
            call.fields["bytes_in"] = len(data)
            with self._admission.admitted(encoding.size(data)) as ticket:
                request = await self._parsed(data, encoding)
                del data
                return await self._compute(call, request, ticket, encoding)

    async def metadata(self, call: Call) -> bytes:
        """Returns the signatures as they stand in the SavedModel."""
        request = parse_small(get_model_metadata_pb2.GetModelMetadataRequest, await call.receive())
        _describe(call, request)
        _check_fields(request.metadata_field)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        signatures = get_model_metadata_pb2.SignatureDefMap()
        with self._manager.find(request.model_spec) as model:
            for name, definition in model.signature_defs.items():
                signatures.signature_def[name].CopyFrom(definition)
            response.model_spec.version.value = model.version
        response.model_spec.name = request.model_spec.name
        response.metadata[SIGNATURE_FIELD].Pack(signatures)
        return response.SerializeToString()

    async def _parsed(self, data: bytes, encoding: Encoding) -> predict_pb2.PredictRequest:
        if encoding.is_quick(data):
            return encoding.parse(data)
        return await asyncio.get_running_loop().run_in_executor(self._parsers, encoding.parse, data)

    async def _compute(
        self, call: Call, request: predict_pb2.PredictRequest, ticket: Ticket, encoding: Encoding
    ) -> bytes:
        _describe(call, request)
        # Of more it is refused later, whatever it claims.
        images = min(max(map(images_in, request.inputs.values()), default=0), self._limits.images)
        call.fields["images"] = images
        self._quota.spend(call.client, images)
        model = ticket.held.enter_context(self._manager.find(request.model_spec))
        signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        call.fields["version"] = model.version

        def work() -> bytes:
            outputs = model.predict(
                signature_name, request.inputs, request.output_filter, self._limits, call.seconds_left
            )
            return encoding.answer(request.model_spec.name, model.version, signature_name, outputs)

        kind = (request.model_spec.name, model.version, signature_name)
        shapes = None if self._batcher is None else bucket(request.inputs)
        try:
            if self._batcher is None or shapes is None:
                return await self._admission.compute(ticket, kind, images, call.seconds_left(), work)
            key = (*kind, *request.output_filter, shapes)
            task = Task(ticket, images, (call, request, encoding))
            together = functools.partial(self._answers, model, signature_name)
            return await self._batcher.compute(key, kind, task, call.seconds_left(), together)
        finally:
            call.fields["queue_seconds"] = ticket.queue_seconds
            call.fields["compute_seconds"] = ticket.compute_seconds

    def _answers(
        self,
        model: ServedModel,
        signature_name: str,
        batch: Sequence[tuple[Call, predict_pb2.PredictRequest, Encoding]],
    ) -> list[bytes | RequestError]:
        def time_left() -> float:
            return max(call.seconds_left() for call, _, _ in batch)

        inputs = [request.inputs for _, request, _ in batch]
        output_filter = batch[0][1].output_filter
        results = predict_batch(model, signature_name, inputs, output_filter, self._limits, time_left)
        return [
            _written(encoding, request.model_spec.name, model.version, signature_name, result)
            for (_, request, encoding), result in zip(batch, results, strict=True)
        ]


class ModelService:
    """Tells which versions can be asked for, and changes what is served.

    Args:
        manager: where the model versions come from.
    """

    name = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager

    @property
    def methods(self) -> dict[str, Callable[[Call], Awaitable[bytes]]]:
        """What answers each method."""
        return {"GetModelStatus": self.status, "HandleReloadConfigRequest": self.reload}

    async def status(self, call: Call) -> bytes:
        """Returns the state of each version asked for."""
        request = parse_small(get_model_status_pb2.GetModelStatusRequest, await call.receive())
        _describe(call, request)
        response = get_model_status_pb2.GetModelStatusResponse()
        for version in self._manager.statuses(request.model_spec):
            status = response.model_version_status.add(version=version.version, state=int(version.state))
            # A healthy version carries an empty status, which is not the same as none.
            status.status.SetInParent()
            if version.error is not None:
                status.status.error_code = version.error.code.value[0]
                status.status.error_message = version.error.details
        return response.SerializeToString()

    async def reload(self, call: Call) -> bytes:
        """Serves the models of another configuration, once they are loaded."""
        request = parse_small(model_management_pb2.ReloadConfigRequest, await call.receive())
        await asyncio.to_thread(self._manager.reload, request.config)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response.SerializeToString()


class SessionService:
    """Says that it is not offered."""

    name = "tensorflow.serving.SessionService"

    @property
    def methods(self) -> dict[str, Callable[[Call], Awaitable[bytes]]]:
        """What answers each method."""
        return {"SessionRun": _not_offered("SessionRun", "access to nodes of the graph")}


def _written(
    encoding: Encoding, name: str, version: int, signature_name: str, result: Mapping[str, np.ndarray] | RequestError
) -> bytes | RequestError:
    # What one encoding cannot write, its client is told alone.
    try:
        return result if isinstance(result, RequestError) else encoding.answer(name, version, signature_name, result)
    except RequestError as error:
        return error


def _not_offered(method: str, needed: str) -> Callable[[Call], Awaitable[bytes]]:
    async def refuse(_: Call) -> bytes:
        # The request is not received, let alone parsed.
        raise RequestError(
            grpc.StatusCode.UNIMPLEMENTED, f"{method} is not offered: it needs {needed}; call Predict instead"
        )

    return refuse


def _describe(call: Call, request: Any) -> None:
    """Checks that a model is named and notes it for the log."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    spec: model_pb2.ModelSpec = request.model_spec
    call.fields |= {"model": spec.name, "signature": spec.signature_name}


def _check_fields(fields: Any) -> None:
    if not fields:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in fields:
        if field != SIGNATURE_FIELD:
            raise invalid_argument(f"Metadata field {field} is not supported")
