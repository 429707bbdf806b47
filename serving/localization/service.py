"""The service that says where photos were taken."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import grpc
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import model_pb2

from keras_sare.localization import DescriptorLocalizer, PhotoAnswer, PlaceIndex, photo_answers
from keras_sare.localization.photo_models import TOLERANT, errors_of
from serving.errors import RequestError, exhausted, invalid_argument
from serving.limits import Limits
from serving.localization.encodings import Encoding, ProtobufEncoding, Question
from serving.localization.maps import Maps, readable
from serving.localization.messages import METHOD, SERVICE
from serving.localization.options import Options
from serving.localization.rerankers import TimedReranker
from serving.models.manager import ModelManager
from serving.models.model import ServedModel
from serving.rpc.calls import Call
from serving.scheduling.admission import Admission, Ticket
from serving.scheduling.quota import READ_IMAGES, Quota

T = TypeVar("T")

_THREADS = 2
_MOST_READS = 256
_PROTOBUF = ProtobufEncoding()


class LocalizationService:
    """Locates photos on maps, with a served model.

    Args:
        maps: the place indexes.
        model: name that the model is served under.
        manager: where its versions come from.
        limits: of each request.
        admission: which requests are let in, together with predictions.
        quota: of each client.

    Attributes:
        maps: as given.
    """

    name = SERVICE

    def __init__(
        self, maps: Maps, model: str, manager: ModelManager, limits: Limits, admission: Admission, quota: Quota
    ) -> None:
        self.maps = maps
        self._spec = model_pb2.ModelSpec(name=model)
        self._manager = manager
        self._limits = limits
        self._admission = admission
        self._quota = quota
        # Apart from the workers: a wrong request is refused, and a thumbnail shown, also while all of them compute.
        self._parsers = ThreadPoolExecutor(_THREADS, thread_name_prefix="parsing")
        self._readers = ThreadPoolExecutor(_THREADS, thread_name_prefix="maps")
        self._reading = 0

    @property
    def methods(self) -> dict[str, Callable[[Call], Awaitable[bytes]]]:
        """What answers each method."""
        return {METHOD: self.localize}

    def check(self) -> None:
        """Checks that the maps were built with the model that is served.

        Raises:
            ValueError: one was built with another.
            RequestError: no version of the model is there.
        """
        with self._manager.find(self._spec) as model:
            _check_signature(model)
            for name in self.maps.names:
                try:
                    self.maps[name].check_model(model.digest)
                except ValueError as error:
                    raise ValueError(f"map {name}: {error}") from error

    def is_ready(self) -> bool:
        """Whether there is a model, and a map that was built with it."""
        try:
            with self._manager.find(self._spec) as model:
                return any(self.maps[name].record.model == model.digest for name in self.maps.names)
        except RequestError:
            return False

    async def localize(self, call: Call, encoding: Encoding = _PROTOBUF) -> bytes:
        """Says where photos were taken.

        Args:
            call: the call.
            encoding: of the request and the answer.
        """
        with self._quota.request(call.client):
            data = await call.receive()
            call.fields |= {"bytes_in": len(data), "model": self._spec.name}
            with self._admission.admitted(encoding.size(data)) as ticket:
                loop = asyncio.get_running_loop()
                question = await loop.run_in_executor(self._parsers, encoding.parse, data, self._limits)
                del data
                return await self._compute(call, question, ticket, encoding)

    async def read(self, call: Call, function: Callable[[], T], images: float = READ_IMAGES) -> T:
        """Reads something of the maps for a client, within its quota.

        Args:
            call: the call.
            function: what reads.
            images: that it counts as.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, the client or all together ask for too much.
        """
        with self._quota.read(call.client, images):
            return await self.in_thread(function)

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Runs something that reads the maps, or a file, in one of a few threads.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, too much waits for them.
        """
        if self._reading >= _MOST_READS:
            raise exhausted(f"The server reads at most {_MOST_READS} things of maps at once; try again later", "reads")
        self._reading += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, function)
        finally:
            self._reading -= 1

    async def _compute(self, call: Call, question: Question, ticket: Ticket, encoding: Encoding) -> bytes:
        photos = len(question.photos)
        call.fields["images"] = photos
        self._quota.spend(call.client, photos)
        model = ticket.held.enter_context(self._manager.find(self._spec))
        call.fields["version"] = model.version
        loop = asyncio.get_running_loop()
        indexes = await loop.run_in_executor(self._parsers, self._indexes, question.options, model.digest)

        def work() -> bytes:
            return encoding.answer(self._answers(model, question, indexes, call))

        try:
            kind = (SERVICE, model.version)
            return await self._admission.compute(ticket, kind, photos, call.seconds_left(), work)
        finally:
            call.fields["queue_seconds"] = ticket.queue_seconds
            call.fields["compute_seconds"] = ticket.compute_seconds

    def _answers(
        self, model: ServedModel, question: Question, indexes: dict[str, PlaceIndex], call: Call
    ) -> list[PhotoAnswer]:
        limited = call.limited(self._limits.seconds)
        inputs = {"image_bytes": _strings(question.photos)}
        outputs = model.predict(TOLERANT, inputs, (), self._limits, limited.seconds_left)
        options = question.options
        errors = errors_of(outputs["error"])
        rerankers = {name: TimedReranker(one, limited.check_time) for name, one in self.maps.rerankers.items()}
        maps = {
            name: DescriptorLocalizer(index, options.k, options.precision, reranker=rerankers.get(name))
            for name, index in indexes.items()
        }
        # Each re-ranker reads them in its own way.
        photos = None if not rerankers else next(iter(rerankers.values())).lazy(question.photos)
        with readable(", ".join(indexes)):
            return photo_answers(maps, outputs["embedding"], errors, options.prior, options.walk, photos)

    def _indexes(self, options: Options, digest: str) -> dict[str, PlaceIndex]:
        chosen = {name: self.maps[name] for name in options.maps or self.maps.names}
        for name, index in chosen.items():
            if index.record.model != digest:
                raise RequestError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"map {name} was built with another model than the one that is served now; its server's keeper has "
                    f"to build it anew",
                )
        try:
            options.prior.check_maps({index.record.kind for index in chosen.values()})
        except ValueError as error:
            raise invalid_argument(str(error)) from error
        return chosen


def _check_signature(model: ServedModel) -> None:
    definition = model.signature_defs.get(TOLERANT)
    if definition is None or not {"embedding", "error"} <= {*definition.outputs}:
        raise ValueError(
            f"`model` must have the signature {TOLERANT!r} to locate photos; export it again. "
            f"Received: {', '.join(model.signature_defs)}"
        )


def _strings(photos: Sequence[bytes]) -> tensor_pb2.TensorProto:
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=photos)
    tensor.tensor_shape.dim.add(size=len(photos))
    return tensor
