import pytest

from keras_sare.training import TrainingSettings, choose_strategy


def test_learning_rate_halves_and_refreshes_become_rarer():
    settings = TrainingSettings(learning_rate=0.8, halve_every=5, refresh_every=1000)
    assert [settings.learning_rate_at(e) for e in (1, 5, 6, 10, 11)] == pytest.approx([0.8, 0.8, 0.4, 0.4, 0.2])
    assert [settings.refresh_every_at(e) for e in (1, 5, 6, 11)] == [1000, 1000, 2000, 4000]


@pytest.mark.parametrize(
    "name",
    [
        "epochs",
        "tuples_per_step",
        "negatives",
        "halve_every",
        "refresh_every",
        "select_by",
        "patience",
        "extraction_batch",
        "checkpoint_every",
        "keep_checkpoints",
    ],
)
def test_counts_must_be_positive(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1. Received: {name}=0"):
        TrainingSettings(**{name: 0})


def test_learning_rate_must_be_positive():
    with pytest.raises(ValueError, match="`learning_rate` must be greater than 0"):
        TrainingSettings(learning_rate=0.0)


def test_cosine_falls_from_the_learning_rate_to_nearly_nothing_and_refreshes_stay():
    settings = TrainingSettings(epochs=4, learning_rate=0.8, schedule="cosine", halve_every=1, refresh_every=1000)
    rates = [settings.learning_rate_at(e) for e in (1, 2, 3, 4)]
    assert rates == pytest.approx([0.8, 0.4 + 0.4 * 0.5**0.5, 0.4, 0.4 - 0.4 * 0.5**0.5])
    assert settings.refresh_every_at(4) == 1000


@pytest.mark.parametrize("name", ["mining", "optimizer", "schedule", "select"])
def test_choices_must_be_known(name):
    with pytest.raises(ValueError, match=f"`{name}` must be one of .* Received: {name}='other'"):
        TrainingSettings(**{name: "other"})


def test_gradient_chunk_must_not_be_negative():
    with pytest.raises(ValueError, match="`gradient_chunk` must be a number of images, or 0 .* gradient_chunk=-1"):
        TrainingSettings(gradient_chunk=-1)


def test_logical_processors_make_a_mirrored_strategy():
    assert choose_strategy(2).num_replicas_in_sync == 2


def test_single_device_needs_no_mirroring():
    assert choose_strategy().num_replicas_in_sync == 1


def test_processor_is_not_split_twice():
    with pytest.raises(ValueError, match="`logical_cpus` must be set before TensorFlow's first operation"):
        choose_strategy(3)
