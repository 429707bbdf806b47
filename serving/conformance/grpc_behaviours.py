"""What TensorFlow Serving does when it is asked through gRPC."""

from collections.abc import Callable
from typing import Any

from tensorflow_serving.apis import classification_pb2, inference_pb2, predict_pb2, regression_pb2

from serving.conformance.behaviour import Behaviour, DiffersError, expect
from serving.conformance.grpc_endpoint import SIGNATURE, GrpcEndpoint

_NONE = "conformance-none"
_VERSION = 999_999_999
_MOST_TEXT = 1024


def _predict(e: GrpcEndpoint, **spec: Any) -> tuple[str, str]:
    return e.refusal(e.predictions.Predict, e.predict_request(**spec))


def _inputs(e: GrpcEndpoint, given: list[str]) -> tuple[str, str]:
    request = e.predict_request(with_inputs=False)
    for alias in given:
        request.inputs[alias].dtype = 1
    return e.refusal(e.predictions.Predict, request)


def _size_text(e: GrpcEndpoint, given: list[str]) -> str:
    wanted = sorted(e.inputs)
    return (
        f"input size does not match signature: {len(given)}!={len(wanted)} len({{{','.join(given)}}}) != "
        f"len({{{','.join(wanted)}}}). Sent extra: {{{','.join(sorted(set(given) - set(wanted)))}}}. "
        f"Missing but required: {{{','.join(sorted(set(wanted) - set(given)))}}}."
    )


def _extra(e: GrpcEndpoint) -> list[str]:
    return sorted([*e.inputs, _NONE])


Refused = Callable[[GrpcEndpoint], tuple[str, str]]
Text = Callable[[GrpcEndpoint], str]

_REFUSALS: list[tuple[str, str, Refused, Text]] = [
    (
        "Predict without model_spec",
        "INVALID_ARGUMENT",
        lambda e: e.refusal(e.predictions.Predict, predict_pb2.PredictRequest()),
        lambda e: "Missing ModelSpec",
    ),
    (
        "Predict of an unknown model",
        "NOT_FOUND",
        lambda e: _predict(e, name=_NONE),
        lambda e: f"Servable not found for request: Latest({_NONE})",
    ),
    (
        "Predict of an unknown version",
        "NOT_FOUND",
        lambda e: _predict(e, version=_VERSION),
        lambda e: f"Servable not found for request: Specific({e.model}, {_VERSION})",
    ),
    (
        "Predict of version 0, which is a version",
        "NOT_FOUND",
        lambda e: _predict(e, version=0),
        lambda e: f"Servable not found for request: Specific({e.model}, 0)",
    ),
    (
        "Predict of an unknown label",
        "INVALID_ARGUMENT",
        lambda e: _predict(e, label=_NONE),
        lambda e: f"Unrecognized servable version label: {_NONE}",
    ),
    (
        "Predict of an unknown signature",
        "FAILED_PRECONDITION",
        lambda e: _predict(e, signature=_NONE),
        lambda e: f'Serving signature key "{_NONE}" not found.',
    ),
    (
        "A long text of an error is cut",
        "FAILED_PRECONDITION",
        lambda e: _predict(e, signature="x" * 2000),
        lambda e: ('Serving signature key "' + "x" * _MOST_TEXT)[:_MOST_TEXT] + "...TRUNCATED",
    ),
    (
        "Predict without inputs",
        "INVALID_ARGUMENT",
        lambda e: _inputs(e, []),
        lambda e: _size_text(e, []),
    ),
    (
        "Predict with an unknown input",
        "INVALID_ARGUMENT",
        lambda e: _inputs(e, _extra(e)),
        lambda e: _size_text(e, _extra(e)),
    ),
    (
        "Predict of an unknown output",
        "INVALID_ARGUMENT",
        lambda e: _predict(e, outputs=[_NONE]),
        lambda e: (
            f"output tensor alias not found in signature: {_NONE} Outputs expected to be in the set "
            f"{{{','.join(e.outputs)}}}."
        ),
    ),
    (
        "Predict of an output twice",
        "INVALID_ARGUMENT",
        lambda e: _predict(e, outputs=e.outputs[:1] * 2),
        lambda e: f"duplicate output tensor alias: {e.outputs[0]}",
    ),
    (
        "GetModelMetadata without fields",
        "INVALID_ARGUMENT",
        lambda e: e.refusal(e.predictions.GetModelMetadata, e.metadata_request()),
        lambda e: "GetModelMetadataRequest must specify at least one metadata_field",
    ),
    (
        "GetModelMetadata of an unknown field",
        "INVALID_ARGUMENT",
        lambda e: e.refusal(e.predictions.GetModelMetadata, e.metadata_request(_NONE)),
        lambda e: f"Metadata field {_NONE} is not supported",
    ),
    (
        "GetModelStatus of an unknown model",
        "NOT_FOUND",
        lambda e: e.refusal(e.models.GetModelStatus, e.status_request(name=_NONE)),
        lambda e: f"Could not find any versions of model {_NONE}",
    ),
    (
        "GetModelStatus of an unknown version",
        "NOT_FOUND",
        lambda e: e.refusal(e.models.GetModelStatus, e.status_request(version=_VERSION)),
        lambda e: f"Could not find version {_VERSION} of model {e.model}",
    ),
]


def _refusal(code: str, refused: Refused, text: Text) -> Callable[[GrpcEndpoint], None]:
    def check(endpoint: GrpcEndpoint) -> None:
        expect("error", refused(endpoint), (code, text(endpoint)))

    return check


def _echo(endpoint: GrpcEndpoint) -> None:
    spec = endpoint.call(endpoint.predictions.Predict, endpoint.predict_request()).model_spec
    received = (spec.name, spec.version.value, spec.signature_name, spec.version_label)
    expect("model_spec", received, (endpoint.model, endpoint.version, SIGNATURE, ""))


def _all_outputs(endpoint: GrpcEndpoint) -> None:
    outputs = endpoint.call(endpoint.predictions.Predict, endpoint.predict_request()).outputs
    expect("outputs", sorted(outputs), endpoint.outputs)


def _filter(endpoint: GrpcEndpoint) -> None:
    request = endpoint.predict_request(outputs=endpoint.outputs[:1])
    outputs = endpoint.call(endpoint.predictions.Predict, request).outputs
    expect("outputs", sorted(outputs), endpoint.outputs[:1])


def _typed(endpoint: GrpcEndpoint) -> None:
    outputs = endpoint.call(endpoint.predictions.Predict, endpoint.predict_request()).outputs
    for alias, tensor in sorted(outputs.items()):
        if tensor.tensor_content:
            raise DiffersError(f"{alias}: expected the values in the field of their type, received tensor_content")


def _metadata(endpoint: GrpcEndpoint) -> None:
    response = endpoint.call(endpoint.predictions.GetModelMetadata, endpoint.metadata_request("signature_def"))
    spec = response.model_spec
    received = (spec.name, spec.version.value, spec.signature_name)
    expect("model_spec", received, (endpoint.model, endpoint.version, ""))
    expect("metadata", list(response.metadata), ["signature_def"])


def _status(endpoint: GrpcEndpoint) -> None:
    for spec in ({}, {"version": endpoint.version}):
        response = endpoint.call(endpoint.models.GetModelStatus, endpoint.status_request(**spec))
        states = {entry.version: entry for entry in response.model_version_status}
        entry = states.get(endpoint.version)
        if entry is None:
            raise DiffersError(f"expected version {endpoint.version}, received {sorted(states)}")
        received = (entry.State.Name(entry.state), entry.status.error_code, entry.status.error_message)
        expect("status", received, ("AVAILABLE", 0, ""))


def _offered(method: str, request: Any) -> Callable[[GrpcEndpoint], None]:
    def check(endpoint: GrpcEndpoint) -> None:
        code, text = endpoint.refusal(getattr(endpoint.predictions, method), request)
        expect("code", code, "INVALID_ARGUMENT")
        if not text:
            raise DiffersError("expected a text, received none")

    return check


GRPC_BEHAVIOURS = [
    *(Behaviour(f"{name}: {code}", _refusal(code, refused, text)) for name, code, refused, text in _REFUSALS),
    Behaviour("Predict echoes name, resolved version and signature, and no label", _echo),
    Behaviour("Predict answers all outputs of the signature", _all_outputs),
    Behaviour("Predict answers only the outputs of output_filter", _filter),
    Behaviour("Values stand in the field of their type", _typed),
    Behaviour("GetModelMetadata answers the signatures, with name and version", _metadata),
    Behaviour("GetModelStatus answers AVAILABLE with an empty status", _status),
    Behaviour("Classify is offered", _offered("Classify", classification_pb2.ClassificationRequest())),
    Behaviour("Regress is offered", _offered("Regress", regression_pb2.RegressionRequest())),
    Behaviour("MultiInference is offered", _offered("MultiInference", inference_pb2.MultiInferenceRequest())),
]
"""In the order of the table."""
