import pytest

from keras_sare.training import TrainingSettings, choose_strategy


def test_learning_rate_halves_and_refreshes_become_rarer():
    settings = TrainingSettings(learning_rate=0.8, halve_every=5, refresh_every=1000)
    assert [settings.learning_rate_at(e) for e in (1, 5, 6, 10, 11)] == pytest.approx([0.8, 0.8, 0.4, 0.4, 0.2])
    assert [settings.refresh_every_at(e) for e in (1, 5, 6, 11)] == [1000, 1000, 2000, 4000]


@pytest.mark.parametrize(
    "name", ["epochs", "tuples_per_step", "negatives", "halve_every", "refresh_every", "select_by"]
)
def test_counts_must_be_positive(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1. Received: {name}=0"):
        TrainingSettings(**{name: 0})


def test_learning_rate_must_be_positive():
    with pytest.raises(ValueError, match="`learning_rate` must be greater than 0"):
        TrainingSettings(learning_rate=0.0)


def test_logical_processors_make_a_mirrored_strategy():
    assert choose_strategy(2).num_replicas_in_sync == 2


def test_single_device_needs_no_mirroring():
    assert choose_strategy().num_replicas_in_sync == 1


def test_processor_is_not_split_twice():
    with pytest.raises(ValueError, match="`logical_cpus` must be set before TensorFlow's first operation"):
        choose_strategy(3)
