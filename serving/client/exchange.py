"""What is sent, what comes back, and what follows from it, for clients that wait and for asynchronous ones alike.

The functions here are generators: they yield what is to be done, `Send` or `Wait`, and are sent what came of it.
"""

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from serving.client.batches import Batch, Target
from serving.client.messages import (
    STATES,
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    GetModelStatusRequest,
    GetModelStatusResponse,
    PredictRequest,
    PredictResponse,
    SignatureDefMap,
)
from serving.client.settings import RequestSettings
from serving.client.tensors import to_array
from serving.localization.messages import METHOD, SERVICE, LocalizeRequest, LocalizeResponse

STRICT = "serving_default"
"""Signature that takes files, of which a damaged one fails the request."""
TOLERANT = "tolerant"
"""Signature that takes files and says of each what is wrong with it."""
IMAGES = "images"
"""Signature that takes decoded images."""

_SERVICES = "/tensorflow.serving."
_METHODS = {
    PredictRequest: (f"{_SERVICES}PredictionService/Predict", PredictResponse),
    GetModelMetadataRequest: (f"{_SERVICES}PredictionService/GetModelMetadata", GetModelMetadataResponse),
    GetModelStatusRequest: (f"{_SERVICES}ModelService/GetModelStatus", GetModelStatusResponse),
    LocalizeRequest: (f"/{SERVICE}/{METHOD}", LocalizeResponse),
}
# CANCELLED is what a server that ends says of requests under way.
_TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED)
_REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)
# In the words of gRPC, of this package's server and of TensorFlow Serving.
_TOO_LARGE = re.compile(r"message larger than max|must hold at most|is larger than maximum input batch size")
_INDEXED = re.compile(r"assertion failed: \[image \d+: (.*?)\]|image \d+: (.*)", re.DOTALL)
_SIGNATURES = "signature_def"


class EmbeddingError(RuntimeError):
    """The server refused or failed a request.

    Args:
        error: what gRPC reported.
        subject: what was being embedded.
        doing: what was being done with it, where it was something else.
    """

    def __init__(self, error: grpc.RpcError, subject: str, doing: str = "embedding") -> None:
        super().__init__(f"{error.code().name}: {error.details()}. While {doing} {subject}")
        self.code = error.code()


@dataclass(frozen=True)
class Send:
    """To be sent; the answer or the `grpc.RpcError` is to be returned."""

    request: Any


@dataclass(frozen=True)
class Wait:
    """So many seconds are to pass."""

    seconds: float


@dataclass(frozen=True)
class Answer:
    """What a server said of a batch.

    Attributes:
        embeddings: of the images without an error, float32 [number, dimension].
        errors: of each image; empty where all is well.
    """

    embeddings: np.ndarray
    errors: list[str]


@dataclass(frozen=True)
class FileAnswer:
    """What came of some files.

    Attributes:
        paths: the files.
        embeddings: of those without an error, float32 [number, dimension], in their order; [0, 0] where there are none.
        errors: of each file, why it has no embedding; empty where it has one.
    """

    paths: list[str]
    embeddings: np.ndarray
    errors: list[str]


Steps = Generator[Send | Wait, Any, Any]


def methods(channel: Any) -> dict[Any, Any]:
    """What sends each kind of request through a channel, by the class of the request."""
    return {
        request: channel.unary_unary(name, request.SerializeToString, answer.FromString)
        for request, (name, answer) in _METHODS.items()
    }


def sent(request: Any, settings: RequestSettings) -> Steps:
    """Sends a request, and again where the server could not take it. Returns the answer or the last error."""
    failures = 0
    while True:
        outcome = yield Send(request)
        if not _is_transient(outcome) or failures == settings.retries:
            return outcome
        failures += 1
        yield Wait(settings.wait(failures))


def embedded(batch: Batch, target: Target, settings: RequestSettings, tolerant: bool) -> Steps:
    """Embeds a batch, in parts where the server refuses it as too large. Returns the `Answer`.

    Args:
        batch: what to embed; where it is empty nothing is sent.
        target: model and signature.
        settings: of the requests.
        tolerant: whether an image that is refused gets an error of its own. Where the signature has no output for
            that, a refused batch is sent in parts until it is known which images are meant.

    Raises:
        EmbeddingError: the server refused or failed a request.
        ValueError: its answer is none to the request.
    """
    if not len(batch):
        return Answer(np.empty((0, 0), np.float32), [])
    outcome = yield from sent(target.request(batch), settings)
    if not isinstance(outcome, grpc.RpcError):
        return _read(outcome, batch)
    if _is_too_large(outcome) or (tolerant and outcome.code() == grpc.StatusCode.INVALID_ARGUMENT):
        if len(batch) > 1:
            parts = []
            for half in batch.halves():
                parts.append((yield from embedded(half, target, settings, tolerant)))
            return Answer(stacked([one.embeddings for one in parts]), [text for one in parts for text in one.errors])
        if tolerant:
            return Answer(np.empty((0, 0), np.float32), [_of_one(outcome.details() or outcome.code().name)])
    raise EmbeddingError(outcome, batch.subject) from outcome


def available_versions(model: str, settings: RequestSettings) -> Steps:
    """Asks for the versions of a model. Returns those that are available, and the state of each in words.

    Raises:
        EmbeddingError: the server does not know the model, or does not answer.
    """
    request = GetModelStatusRequest()
    request.model_spec.name = model
    outcome = yield from sent(request, settings)
    if isinstance(outcome, grpc.RpcError):
        raise EmbeddingError(outcome, f"model {model}", doing="looking for") from outcome
    states = [(one.version, STATES.get(one.state, str(one.state))) for one in outcome.model_version_status]
    available = [version for version, state in states if state == "AVAILABLE"]
    return available, ", ".join(f"version {version} in state {state}" for version, state in states)


def signatures(target: Target, settings: RequestSettings) -> Steps:
    """Asks for the signatures of a model. Returns the names of their inputs and of their outputs, by their name.

    Raises:
        EmbeddingError: the server refused or failed the request.
    """
    request = GetModelMetadataRequest(metadata_field=[_SIGNATURES])
    request.model_spec.name = target.model
    if target.version is not None:
        request.model_spec.version.value = target.version
    outcome = yield from sent(request, settings)
    if isinstance(outcome, grpc.RpcError):
        raise EmbeddingError(outcome, f"model {target.model}", doing="asking for the signatures of") from outcome
    definitions = SignatureDefMap.FromString(outcome.metadata[_SIGNATURES].value).signature_def
    return {name: (set(one.inputs), set(one.outputs)) for name, one in definitions.items()}


def with_unread(answer: Answer, paths: list[str], unread: list[str]) -> FileAnswer:
    """Puts the errors of files that could not be read between those of an answer to the others."""
    of_read = iter(answer.errors)
    return FileAnswer(paths, answer.embeddings, [error or next(of_read) for error in unread])


def stacked(parts: list[np.ndarray]) -> np.ndarray:
    """Joins embeddings; parts without any do not know their dimension."""
    return np.concatenate([part for part in parts if len(part)] or [np.empty((0, 0), np.float32)])


def _is_transient(outcome: Any) -> bool:
    return isinstance(outcome, grpc.RpcError) and outcome.code() in _TRANSIENT and not _is_too_large(outcome)


def _is_too_large(error: grpc.RpcError) -> bool:
    return error.code() in _REFUSED and _TOO_LARGE.search(error.details() or "") is not None


def _read(response: Any, batch: Batch) -> Answer:
    if "embedding" not in response.outputs:
        raise ValueError(
            f"The answer must have the output `embedding`; ask for another model. Received: {sorted(response.outputs)}"
        )
    embeddings = to_array(response.outputs["embedding"])
    if embeddings.ndim != 2 or len(embeddings) != len(batch) or embeddings.dtype.kind != "f":
        raise ValueError(
            f"`embedding` must hold one row of numbers for each of {len(batch)} images; ask for another model. "
            f"Received: shape={embeddings.shape}, dtype={embeddings.dtype}"
        )
    errors = [""] * len(batch)
    if "error" in response.outputs:
        texts = to_array(response.outputs["error"])
        if texts.shape != (len(batch),):
            raise ValueError(
                f"`error` must hold one text for each of {len(batch)} images. Received: shape={texts.shape}"
            )
        errors = [_of_one(text.decode(errors="replace")) for text in texts]
    well = [not error for error in errors]
    return Answer(embeddings[well].astype(np.float32, copy=False), errors)


def _of_one(error: str) -> str:
    """An error without the index of its image in a batch, and without what TensorFlow puts around it."""
    found = _INDEXED.match(error)
    return next(filter(None, found.groups()), error) if found else error
