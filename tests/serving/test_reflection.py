"""A client that knows nothing of the services but what reflection tells, as grpcurl does."""

import base64
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

METHODS = {
    "tensorflow.serving.PredictionService": {"Predict", "GetModelMetadata", "Classify", "Regress", "MultiInference"},
    "tensorflow.serving.ModelService": {"GetModelStatus", "HandleReloadConfigRequest"},
    "grpc.health.v1.Health": {"Check", "Watch"},
}


class ReflectedClient:
    """Calls methods by name, with requests and answers as JSON."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self.pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))

    def call(self, service: str, method: str, request: dict[str, object]) -> dict[str, object]:
        """Calls a method that answers once."""
        described = self.pool.FindServiceByName(service).FindMethodByName(method)
        message = json_format.ParseDict(request, GetMessageClass(described.input_type)(), descriptor_pool=self.pool)
        call = self._channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda value: value.SerializeToString(),
            response_deserializer=GetMessageClass(described.output_type).FromString,
        )
        return json_format.MessageToDict(call(message, timeout=20), descriptor_pool=self.pool)


def test_photos_are_embedded_without_generated_code(address: str, files: list[Path], embeddings: np.ndarray) -> None:
    photos = [base64.b64encode(file.read_bytes()).decode() for file in files]
    tensor = {"dtype": "DT_STRING", "tensorShape": {"dim": [{"size": len(photos)}]}, "stringVal": photos}
    request = {"modelSpec": {"name": "keras_sare"}, "inputs": {"image_bytes": tensor}}
    with grpc.insecure_channel(address) as channel:
        client = ReflectedClient(channel)
        answer = client.call("tensorflow.serving.PredictionService", "Predict", request)
        assert answer["modelSpec"] == {"name": "keras_sare", "version": "7", "signatureName": "serving_default"}
        values = answer["outputs"]["embedding"]["floatVal"]  # type: ignore[index]
        np.testing.assert_allclose(np.reshape(values, embeddings.shape), embeddings, rtol=1e-6)


def test_methods_are_described_and_the_others_answer_too(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        client = ReflectedClient(channel)
        for service, names in METHODS.items():
            methods = client.pool.FindServiceByName(service).methods_by_name
            assert set(methods) >= names
        health = client.call("grpc.health.v1.Health", "Check", {"service": "keras_sare"})
        assert health == {"status": "SERVING"}
        wanted = {"modelSpec": {"name": "keras_sare"}, "metadataField": ["signature_def"]}
        # An `Any`, whose type the client finds by reflection.
        answer = client.call("tensorflow.serving.PredictionService", "GetModelMetadata", wanted)
        signatures = answer["metadata"]["signature_def"]["signatureDef"]  # type: ignore[index]
        assert {"serving_default", "images", "combine"} <= set(signatures)


def test_an_unknown_model_is_told_by_the_code(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            ReflectedClient(channel).call(
                "tensorflow.serving.ModelService", "GetModelStatus", {"modelSpec": {"name": "other"}}
            )
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
