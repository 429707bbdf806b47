import pytest

from keras_sare.distribution import choose_strategy
from keras_sare.training import PlaceSettings, SfMSettings, TrainingSettings


def test_learning_rate_halves_and_refreshes_become_rarer():
    settings = PlaceSettings(learning_rate=0.8, decay_every=5, refresh_every=1000, tuples_per_step=4)
    assert [settings.learning_rate_at(e) for e in (1, 5, 6, 10, 11)] == pytest.approx([0.8, 0.8, 0.4, 0.4, 0.2])
    assert [settings.steps_per_refresh(e, 1850) for e in (1, 5, 6, 11)] == [250, 250, 500, 1000]


@pytest.mark.parametrize("recipe", [PlaceSettings, SfMSettings])
def test_learning_rate_falls_in_steps_and_refreshes_stay(recipe):
    settings = recipe(learning_rate=1e-3, schedule="step", decay_every=10, decay_factor=5)
    rates = [settings.learning_rate_at(e) for e in (1, 10, 11, 20, 21, 30)]
    assert rates == pytest.approx([1e-3, 1e-3, 2e-4, 2e-4, 4e-5, 4e-5])
    assert settings.steps_per_refresh(30, 600) == settings.steps_per_refresh(1, 600)


def test_defaults_for_models_are_the_published_recipe():
    settings = SfMSettings()
    chosen = [settings.optimizer, settings.learning_rate, settings.momentum, settings.weight_decay]
    assert chosen == ["sgd", 1e-3, 0.9, 5e-4]
    assert [settings.learning_rate_at(e) for e in (10, 11, 21)] == pytest.approx([1e-3, 2e-4, 4e-5])
    assert (settings.tuples_per_step, settings.negatives, settings.epochs, settings.mine_times) == (5, 5, 30, 3)


@pytest.mark.parametrize(
    ("steps", "expected"), [(9, [3, 3, 3]), (10, [4, 4, 2]), (4, [2, 2]), (2, [1, 1])], ids=lambda value: str(value)
)
def test_epoch_is_mined_in_windows_of_equal_length_at_most_as_often_as_asked(steps, expected):
    size = SfMSettings(mine_times=3).steps_per_refresh(1, steps)
    assert [min(size, steps - start) for start in range(0, steps, size)] == expected


COUNTS = [
    "tuples_per_step",
    "negatives",
    "decay_every",
    "patience",
    "extraction_batch",
    "checkpoint_every",
    "keep_checkpoints",
]


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        *((TrainingSettings, name) for name in COUNTS),
        (PlaceSettings, "refresh_every"),
        (SfMSettings, "mine_times"),
    ],
)
def test_counts_must_be_positive(recipe, name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1. Received: {name}=0"):
        recipe(**{name: 0})


@pytest.mark.parametrize("name", ["learning_rate", "decay_factor"])
def test_learning_rate_and_what_divides_it_must_be_positive(name):
    with pytest.raises(ValueError, match=f"`{name}` must be greater than 0"):
        TrainingSettings(**{name: 0.0})


def test_refreshes_must_not_come_within_a_step():
    with pytest.raises(ValueError, match="`refresh_every` must be at least `tuples_per_step`, 4: .* refresh_every=3"):
        PlaceSettings(refresh_every=3)


def test_cosine_falls_from_the_learning_rate_to_nearly_nothing_and_refreshes_stay():
    settings = PlaceSettings(epochs=4, learning_rate=0.8, schedule="cosine", decay_every=1, refresh_every=1000)
    rates = [settings.learning_rate_at(e) for e in (1, 2, 3, 4)]
    assert rates == pytest.approx([0.8, 0.4 + 0.4 * 0.5**0.5, 0.4, 0.4 - 0.4 * 0.5**0.5])
    assert settings.steps_per_refresh(4, 1850) == 250


@pytest.mark.parametrize("name", ["mining", "optimizer", "schedule", "select"])
def test_choices_must_be_known(name):
    with pytest.raises(ValueError, match=f"`{name}` must be one of .* Received: {name}='other'"):
        PlaceSettings(**{name: "other"})


def test_gradient_chunk_must_not_be_negative():
    with pytest.raises(ValueError, match="`gradient_chunk` must be at least 0. Received: gradient_chunk=-1"):
        TrainingSettings(gradient_chunk=-1)


def test_logical_processors_make_a_mirrored_strategy():
    assert choose_strategy(2).num_replicas_in_sync == 2


def test_single_device_needs_no_mirroring():
    assert choose_strategy().num_replicas_in_sync == 1


def test_processor_is_not_split_twice():
    with pytest.raises(ValueError, match="`logical_cpus` must be set before TensorFlow's first operation"):
        choose_strategy(3)


@pytest.mark.parametrize("radii", [{"min_positive": 10.0}, {"positive_radius": 26.0}, {"negative_radius": 9.0}])
def test_radii_of_places_must_rise(radii):
    with pytest.raises(ValueError, match="0 <= `min_positive` < `positive_radius` <= `negative_radius`. Received: min"):
        PlaceSettings(**radii)
    assert PlaceSettings(min_positive=0.0, positive_radius=25.0).min_positive == 0
    with pytest.raises(ValueError, match="`min_positive` must be at least 0. Received: min_positive=-1.0"):
        PlaceSettings(min_positive=-1.0)


def test_no_epochs_are_none_to_train_and_fewer_are_refused():
    for schedule in ("halving", "step", "cosine"):
        assert TrainingSettings(epochs=0, learning_rate=0.5, schedule=schedule).learning_rate_at(1) == 0.5
    with pytest.raises(ValueError, match="`epochs` must be at least 0. Received: epochs=-1"):
        PlaceSettings(epochs=-1)
