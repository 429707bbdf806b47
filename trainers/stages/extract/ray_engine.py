"""The engine that is a Ray cluster: actors that have the model, and one process that shares the photos out."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from types import ModuleType
from typing import Any, Self

from keras_sare.datasets.photo_sources.source_photo import SourcePhoto
from keras_sare.extraction.photo_blocks.block_extractor import DescribedPhotos
from trainers.config import ExtractConfig
from trainers.stages.extract.engine import ModelFacts
from trainers.stages.extract.ray_worker import Worker, cores_of

logger = logging.getLogger("keras_sare.extract")

_UNIT = 128
"""Photos of a call, about: enough that a worker reads some while it describes others."""
_CALLS = 2
"""Of a worker at a time: the next photos are there when it has finished."""
_DEATHS = 3
"""Of workers that had the same photos: these are the cause then."""
_PATIENCE = 300.0
"""Seconds for which a worker is waited for where there is none."""
_GRACE = 30.0
"""Seconds after a first worker has come in which others may, before photos are given to those that are there."""
_OBJECT_STORE = 500_000_000


@dataclass(eq=False)
class _Unit:
    """Photos that one call describes."""

    number: int
    photos: list[SourcePhoto]
    deaths: int = 0


@dataclass(eq=False)
class _Hand:
    """A worker, and the calls that it has been given."""

    actor: Any
    calls: dict[Any, _Unit] = field(default_factory=dict)


class RayEngine:
    """See `Engine`.

    Photos are given to workers in parts of whole blocks, so that blocks are those of one process. A worker that is
    lost, with its node or by itself, is replaced, and others get its photos. Ray repeats nothing by itself: what it
    keeps for that grows with the photos.

    Args:
        config: of the extraction.
        kind: of its source's positions.

    Raises:
        ImportError: ray is not installed.
        RuntimeError: the cluster has no room for a worker, or none starts.
        ValueError: the model cannot be used.
    """

    def __init__(self, config: ExtractConfig, kind: str) -> None:
        self._ray = _import_ray()
        self._config = config
        self._kind = kind
        self._ready: list[_Hand] = []
        self._starting: dict[Any, Any] = {}
        self._deaths = 0
        self._known: ModelFacts | None = None
        self._connect()
        try:
            self.workers = self._room()
            self.facts: ModelFacts = self._first_workers()
        except BaseException:
            self._ray.shutdown()
            raise

    def describe(self, photos: Iterable[SourcePhoto]) -> Iterator[DescribedPhotos]:
        """See `Engine.describe`.

        Raises:
            RuntimeError: workers die again and again.
        """
        rest = iter(photos)
        block = self.facts.block
        waiting: deque[_Unit] = deque()
        finished: dict[int, list[DescribedPhotos]] = {}
        taken = 0
        turn = 0
        while True:
            while taken - turn < 2 * _CALLS * self.workers:
                # First a block for each: a model that takes seconds for a photo shows soon how fast it is.
                size = block if taken < _CALLS * self.workers else max(1, _UNIT // block) * block
                unit = [*islice(rest, size)]
                if not unit:
                    break
                waiting.append(_Unit(taken, unit))
                taken += 1
            self._assign(waiting)
            if turn in finished:
                yield from finished.pop(turn)
                turn += 1
            elif turn == taken:
                return
            else:
                self._wait(waiting, finished)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def _connect(self) -> None:
        here = {} if self._config.address else {"object_store_memory": _OBJECT_STORE, "include_dashboard": False}
        logging.getLogger("ray").setLevel(logging.WARNING)
        try:
            self._ray.init(self._config.address or "local", log_to_driver=False, logging_level="warning", **here)
        except Exception as error:  # Of which some are of no other kind.
            raise RuntimeError(
                "Ray must start on this machine, or `address` must be of a cluster that answers. Received: "
                f"address={self._config.address!r}: {_first_line(error)}"
            ) from error

    def _room(self) -> int:
        """How many workers there are to be."""
        config = self._config
        there = self._ray.cluster_resources()
        wanted = {"CPU": cores_of(config), "GPU": config.gpus_per_worker}
        room = min((int(there.get(name, 0) / each) for name, each in wanted.items() if each), default=1)
        if not room:
            raise RuntimeError(f"The cluster must have room for a worker of {wanted}. Received: {there}")
        return min(config.workers or room, room)

    def _first_workers(self) -> ModelFacts:
        """Starts all workers, and waits for them; those that take long join in later."""
        for _ in range(self.workers):
            self._start()
        while self._starting and self._wait(deque(), {}, _GRACE if self._ready else _PATIENCE):
            pass
        if self._known is None:
            raise RuntimeError(f"No worker has started in {_PATIENCE:g} s; is there room for one in the cluster?")
        return self._known

    def _start(self) -> None:
        needs = {"num_cpus": cores_of(self._config), "num_gpus": self._config.gpus_per_worker}
        repeats = {"max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}
        actor = self._ray.remote(**needs, **repeats)(Worker).remote(self._config, self._kind)
        self._starting[actor.open.remote()] = actor

    def _assign(self, waiting: deque[_Unit]) -> None:
        """Gives units to the workers that have the fewest."""
        for busy in range(_CALLS):
            for hand in self._ready:
                if waiting and len(hand.calls) <= busy:
                    unit = waiting.popleft()
                    hand.calls[hand.actor.describe.remote(unit.photos)] = unit

    def _wait(
        self, waiting: deque[_Unit], finished: dict[int, list[DescribedPhotos]], seconds: float = _PATIENCE
    ) -> bool:
        """Waits until a worker has something to say, or for so many seconds; False where none had."""
        calls = {call: hand for hand in self._ready for call in hand.calls}
        done, _ = self._ray.wait([*calls, *self._starting], timeout=seconds)
        if not done and not self._ready:
            logger.warning("No worker is there; the cluster has no room for one, or its nodes are gone")
        for call in done:
            if call in self._starting:
                self._welcome(call)
            elif call in calls[call].calls:  # Else its worker has just been lost with another call.
                self._finish(call, calls[call], waiting, finished)
        return bool(done)

    def _welcome(self, call: Any) -> None:
        """Takes a worker that has opened the model, or starts another in its place."""
        actor = self._starting.pop(call)
        try:
            facts: ModelFacts = self._ray.get(call)
        except self._ray.exceptions.RayActorError as error:
            self._count_death(error)
            self._start()
            return
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        if facts != (self._known or facts):
            raise ValueError(f"`model` must be the same file on all nodes. Received: {facts} and {self._known}")
        self._known = facts
        self._ready.append(_Hand(actor))

    def _finish(
        self, call: Any, hand: _Hand, waiting: deque[_Unit], finished: dict[int, list[DescribedPhotos]]
    ) -> None:
        try:
            finished[hand.calls[call].number] = self._ray.get(call)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:  # The worker, its node or the result is lost.
            self._replace(hand, call, waiting, error)
        else:
            del hand.calls[call]
            self._deaths = 0

    def _replace(self, hand: _Hand, call: Any, waiting: deque[_Unit], error: Exception) -> None:
        """Starts another worker, and lets others do what a lost one had to do."""
        unit = hand.calls[call]
        unit.deaths += 1
        if unit.deaths == _DEATHS:
            raise RuntimeError(
                f"{_DEATHS} workers died of the {len(unit.photos)} photos from {unit.photos[0].uri!r} on, for lack of "
                f"memory it may be: lower `batch`, `memory_gb` or `readers`. Received: {_first_line(error)}"
            ) from error
        self._count_death(error)
        waiting.extendleft(sorted(hand.calls.values(), key=lambda one: -one.number))
        hand.calls.clear()
        self._ready.remove(hand)
        self._ray.kill(hand.actor)
        self._start()

    def _count_death(self, error: Exception) -> None:
        logger.warning("A worker is lost, another takes its place: %s", _first_line(error))
        self._deaths += 1
        if self._deaths >= _DEATHS * self.workers:
            raise RuntimeError(
                f"{self._deaths} workers died and none finished. Received: {_first_line(error)}"
            ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:500]


def _import_ray() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise ImportError('--engine=ray needs ray: pip install "keras-sare[ray]"') from error
    return ray
