import json

import pytest
import tensorflow as tf

from keras_sare.distribution import choose_strategy

TWO = {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}


@pytest.fixture
def set_config(monkeypatch):
    """Sets TF_CONFIG; a word takes the place of the strategy, which would wait for the other workers."""
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda: "several workers")
    return lambda value: monkeypatch.setenv("TF_CONFIG", value if isinstance(value, str) else json.dumps(value))


@pytest.fixture(autouse=True)
def no_config(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)


def test_one_device_gets_the_default_strategy():
    assert choose_strategy() is tf.distribute.get_strategy()


def test_logical_devices_are_replicas():
    strategy = choose_strategy(logical_cpus=2)
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    assert strategy.num_replicas_in_sync == 2


@pytest.mark.parametrize("cluster", [TWO, {"chief": ["a:1"], "worker": ["b:1"]}], ids=["workers", "chief and worker"])
def test_several_workers_get_their_strategy(set_config, cluster):
    set_config({"cluster": cluster, "task": {"type": "worker", "index": 0}})
    assert choose_strategy() == "several workers"


@pytest.mark.parametrize(
    "config",
    ["", "{}", {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}],
    ids=["empty", "no cluster", "one worker"],
)
def test_configuration_without_other_workers_changes_nothing(set_config, config):
    set_config(config)
    assert choose_strategy() is tf.distribute.get_strategy()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{cluster", "`TF_CONFIG` must be JSON .* Received: TF_CONFIG={cluster"),
        ("[1]", '`TF_CONFIG` must have a "cluster", for example .* Received: TF_CONFIG=\\[1\\]'),
        ({"cluster": {"worker": "a:1"}}, 'must have a "cluster"'),
        ({"cluster": {"worker": []}}, 'must have a "cluster"'),
        ({"cluster": {"worker": ["a", "b"]}}, 'must have a "cluster"'),
        ({"cluster": {"ps": ["a:1"], "worker": ["b:1"]}}, 'must name "worker" and at most one "chief" as jobs'),
        ({"cluster": {"chief": ["a:1", "b:1"]}}, 'must name "worker" and at most one "chief" as jobs'),
        ({"cluster": {"worker": ["a:1", "a:1"]}}, "must name every address once"),
        ({"cluster": TWO}, "must say which of the cluster this process is"),
        ({"cluster": TWO, "task": {"type": "chief", "index": 0}}, "must say which of the cluster this process is"),
        ({"cluster": TWO, "task": {"type": "worker"}}, "must say which of the cluster this process is"),
        ({"cluster": TWO, "task": {"type": "worker", "index": "1"}}, "must say which of the cluster this process is"),
        ({"cluster": TWO, "task": {"type": "worker", "index": 2}}, "must say which of the cluster this process is"),
    ],
)
def test_wrong_configuration_is_refused_with_an_example(set_config, config, message):
    set_config(config)
    with pytest.raises(ValueError, match=message):
        choose_strategy()


def test_processor_is_not_split_among_several_workers(set_config):
    set_config({"cluster": TWO, "task": {"type": "worker", "index": 0}})
    with pytest.raises(ValueError, match="`logical_cpus` must be 0 .* Received: logical_cpus=2, 2 workers"):
        choose_strategy(logical_cpus=2)


def test_negative_number_of_devices_is_refused():
    with pytest.raises(ValueError, match="`logical_cpus` must not be negative. Received: logical_cpus=-1"):
        choose_strategy(logical_cpus=-1)


def test_processor_that_is_split_otherwise_is_refused():
    tf.zeros(())  # the devices are fixed with the first operation
    with pytest.raises(ValueError, match="must be set before TensorFlow's first operation.*Received: logical_cpus=3"):
        choose_strategy(logical_cpus=3)
