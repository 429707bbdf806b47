"""How photos are shared out to workers, with a stand-in for Ray whose workers finish and die in any order."""

import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from keras_sare.datasets.photo_sources.source_photo import SourcePhoto
from keras_sare.extraction.photo_blocks.block_extractor import DescribedPhotos
from trainers.config import ExtractConfig
from trainers.stages.extract import ray_engine
from trainers.stages.extract.engine import ModelFacts

BLOCK = 4
FACTS = ModelFacts("digest", "small", None, BLOCK)


class RayError(Exception):
    pass


class RayActorError(RayError):
    pass


class RayTaskError(RayError):
    def __init__(self, cause):
        super().__init__("a task failed")
        self.cause = cause


class Call:
    """Of a method of an actor: done when its turn comes, or lost with the actor."""

    def __init__(self, actor, method, arguments):
        self.actor = actor
        self.method = method
        self.arguments = arguments
        self.outcome = None


class Actor:
    def __init__(self, target):
        self.target = target
        self.alive = True
        self.calls = []

    def __getattr__(self, name):
        return SimpleNamespace(remote=lambda *arguments: self._called(name, arguments))

    def _called(self, name, arguments):
        call = Call(self, name, arguments)
        self.calls.append(call)
        return call


class StandIn:
    """What the engine uses of Ray. Each time that it waits, some actor finishes its first call, or dies.

    Attributes:
        most_calls: photos that all actors have been given and not finished, at most.
    """

    exceptions = SimpleNamespace(RayError=RayError, RayActorError=RayActorError, RayTaskError=RayTaskError)

    def __init__(self, seed=0, cores=3, deaths=0.0):
        self.random = random.Random(seed)
        self.cores = cores
        self.deaths = deaths
        self.died = 0
        self.most_calls = 0

    def init(self, address, **_):
        self.address = address

    def shutdown(self):
        self.address = None

    def cluster_resources(self):
        return {"CPU": self.cores}

    def remote(self, **needs):
        assert (needs["max_restarts"], needs["max_task_retries"]) == (0, 0)
        return lambda cls: SimpleNamespace(remote=lambda *arguments: Actor(cls(*arguments)))

    def wait(self, calls, timeout):
        self.most_calls = max(self.most_calls, sum(len(one) for call in calls for one in call.arguments))
        done = [call for call in calls if call.outcome]
        if not done:
            actor = self.random.choice([call.actor for call in calls])
            if self.random.random() < self.deaths:
                self.kill(actor)
                self.died += 1
            else:
                self._do(actor.calls[0])
            done = [call for call in calls if call.outcome]
        return done, [call for call in calls if not call.outcome]

    def kill(self, actor):
        actor.alive = False
        for call in actor.calls:
            call.outcome = (RayActorError("The actor died.\nAt length."), None)
        actor.calls.clear()

    def get(self, call):
        error, result = call.outcome
        if error:
            raise error
        return result

    def _do(self, call):
        call.actor.calls.remove(call)
        try:
            call.outcome = (None, getattr(call.actor.target, call.method)(*call.arguments))
        except ValueError as error:
            call.outcome = (RayTaskError(error), None)


class Worker:
    """Describes a photo by its number."""

    def __init__(self, config, kind):
        self.config = config

    def open(self):
        return FACTS

    def describe(self, photos):
        blocks = [photos[start : start + BLOCK] for start in range(0, len(photos), BLOCK)]
        return [
            DescribedPhotos(block, np.array([[float(photo.name)] for photo in block], np.float16), [])
            for block in blocks
        ]


def engine(monkeypatch, stand_in, worker=Worker, **settings):
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    monkeypatch.setattr(ray_engine, "Worker", worker)
    config = ExtractConfig(model="m", photos="p", output="o", engine="ray", **settings)
    return ray_engine.RayEngine(config, "degrees")


def photos(count):
    return [SourcePhoto(f"{number}", "uri") for number in range(count)]


def check_all(described, count):
    names = [photo.name for some in described for photo in some.photos]
    assert names == [f"{number}" for number in range(count)]
    blocks = [len(some) for some in described]
    assert blocks == [BLOCK] * (count // BLOCK) + [count % BLOCK] * (count % BLOCK > 0)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_photos_come_back_in_order_and_in_the_blocks_of_one_process(monkeypatch, workers):
    for seed in range(5):
        stand_in = StandIn(seed, cores=workers)
        with engine(monkeypatch, stand_in) as shared:
            assert (shared.workers, shared.facts) == (workers, FACTS)
            for count in (0, 1, BLOCK, 1999):
                check_all([*shared.describe(photos(count))], count)
        assert stand_in.address is None


def test_few_photos_are_on_their_way_however_many_there_are(monkeypatch):
    stand_in = StandIn(cores=2)
    taken = 0

    def source():
        nonlocal taken
        for photo in photos(6000):
            taken += 1
            yield photo

    ahead = 0
    done = 0
    with engine(monkeypatch, stand_in) as shared:
        for some in shared.describe(source()):
            done += len(some)
            ahead = max(ahead, taken - done)
    assert done == 6000
    assert stand_in.most_calls <= 2 * 2 * 128
    assert ahead <= 2 * 2 * 2 * 128


def test_workers_that_die_at_any_moment_lose_nothing_and_nothing_comes_twice(monkeypatch):
    died = 0
    for seed in range(40):
        stand_in = StandIn(seed, cores=3, deaths=0.1)
        with engine(monkeypatch, stand_in) as shared:
            check_all([*shared.describe(photos(2999))], 2999)
        died += stand_in.died
    assert died > 40


def test_a_worker_that_takes_long_to_come_is_not_waited_for_and_helps_later(monkeypatch):
    class Late(StandIn):
        """Nothing comes of the last worker before the others have photos."""

        late = None
        helped = False

        def wait(self, calls, timeout):
            if [call.method for call in calls] == ["open"]:
                self.late = calls[0].actor
                return [], calls
            return super().wait(calls, timeout)

        def _do(self, call):
            self.helped |= call.actor is self.late and call.method == "describe"
            super()._do(call)

    stand_in = Late(cores=3)
    with engine(monkeypatch, stand_in) as shared:
        check_all([*shared.describe(photos(2999))], 2999)
    assert stand_in.helped


def test_photos_of_which_workers_die_are_told(monkeypatch):
    class Dying(StandIn):
        def _do(self, call):
            if call.method == "describe" and "300" in [photo.name for photo in call.arguments[0]]:
                self.kill(call.actor)
            else:
                super()._do(call)

    with (
        engine(monkeypatch, Dying(cores=2)) as shared,
        pytest.raises(RuntimeError, match=r"3 workers died of the 128 photos from 'uri' on.*The actor died.$"),
    ):
        list(shared.describe(photos(2000)))


def test_workers_that_die_before_they_begin_are_not_started_for_ever(monkeypatch):
    with pytest.raises(RuntimeError, match="6 workers died and none finished"):
        engine(monkeypatch, StandIn(cores=2, deaths=1.0))


def test_errors_of_workers_are_those_of_one_process(monkeypatch):
    class Wrong(Worker):
        def open(self):
            raise ValueError("`memory_gb` must be larger")

    with pytest.raises(ValueError, match="`memory_gb` must be larger"):
        engine(monkeypatch, StandIn(), Wrong)

    class Failing(Worker):
        def describe(self, photos):
            raise ValueError("out of range")

    with engine(monkeypatch, StandIn(), Failing) as shared, pytest.raises(ValueError, match="out of range"):
        list(shared.describe(photos(9)))


def test_another_model_on_another_node_is_told(monkeypatch):
    names = iter(["one", "other", "third"])

    class Differing(Worker):
        def open(self):
            return ModelFacts(next(names), "small", None, BLOCK)

    with pytest.raises(ValueError, match="`model` must be the same file on all nodes"):
        engine(monkeypatch, StandIn(cores=3), Differing)


def test_clusters_without_room_or_that_do_not_answer_are_told(monkeypatch):
    with pytest.raises(RuntimeError, match="must have room for a worker"):
        engine(monkeypatch, StandIn(cores=3), cpus_per_worker=4)
    with pytest.raises(RuntimeError, match="must have room for a worker"):
        engine(monkeypatch, StandIn(cores=3), gpus_per_worker=0.5)
    with engine(monkeypatch, StandIn(cores=9), cpus_per_worker=2) as shared:
        assert shared.workers == 4
    with engine(monkeypatch, StandIn(cores=9), workers=3) as shared:
        assert shared.workers == 3

    class Silent(StandIn):
        def init(self, address, **_):
            raise ConnectionError("no answer\nat all")

    with pytest.raises(RuntimeError, match=r"of a cluster that answers. Received: address='far:1': no answer$"):
        engine(monkeypatch, Silent(), address="far:1")
