import csv
import dataclasses
import itertools
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

from keras_sare.datasets import Augmentation, ImageSet
from keras_sare.evaluation import RecallReport
from keras_sare.extraction import StoredInputs
from keras_sare.losses import InfoNCELoss, PlaceBatchLoss, SARELoss
from keras_sare.models import set_precision, split
from keras_sare.training import RecallValidation, Trainer
from keras_sare.training.data.augmented_inputs import AugmentedInputs
from keras_sare.training.stage_timer import PARTS


class Killed(BaseException):
    """Stands for a kill: nothing in the program handles it."""


@pytest.fixture
def make_trainer(make_places, make_model, settings, tmp_path):
    """On photographs, with NetVLAD."""

    def make(initialise=True, **changed):
        one = dataclasses.replace(settings, **changed)
        train = make_places("train", 12, 0, one)
        validation = RecallValidation(make_places("val", 8, 1, one))
        strategy = tf.distribute.get_strategy()
        return Trainer(make_model(strategy, initialise), SARELoss(), train, validation, tmp_path / "run", strategy)

    return make


@pytest.fixture(scope="module")
def unbroken(train_shared):
    """A run of three epochs that nothing stops."""
    return train_shared()


@pytest.fixture(scope="module")
def short(train_shared):
    """A run of one epoch."""
    return train_shared(epochs=1)


@pytest.fixture(scope="module")
def killed(train_shared):
    """Folder of a run with a checkpoint after each step, killed before the fourth step of the second epoch."""
    folders = []

    def prepare(trainer):
        folders.append(trainer.log.folder)
        kill_at(trainer, 9)

    with pytest.raises(Killed):
        train_shared(prepare, checkpoint_every=1)
    return folders[0]


@pytest.fixture
def go_on(make_small_trainer, tmp_path):
    """Makes a trainer that goes on in a copy of a run's folder."""

    def make(folder, **changed):
        shutil.copytree(folder, tmp_path / "run")
        return make_small_trainer(**changed)

    return make


def weights(trainer):
    return [keras.ops.convert_to_numpy(w) for w in trainer.model.weights]


def without_seconds(history):
    return [{key: value for key, value in row.items() if not key.startswith("seconds")} for row in history]


def assert_same_run(a, b):
    """Weights bit by bit, and every figure but times."""
    for x, y in zip(weights(a), weights(b), strict=True):
        np.testing.assert_array_equal(x, y)
    assert without_seconds(a.state.history) == without_seconds(b.state.history)
    assert (a.state.best_epoch, a.state.best, a.state.refreshes) == (
        b.state.best_epoch,
        b.state.best,
        b.state.refreshes,
    )
    np.testing.assert_array_equal(a.miner.state_dict()["remembered"], b.miner.state_dict()["remembered"])


def names(run):
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def kill_at(trainer, step):
    """Lets a run die before a step, counted from 0 over all epochs."""
    steps = itertools.count()
    original = trainer.tuple_trainer.step

    def killed(*batch):
        if next(steps) == step:
            raise Killed
        return original(*batch)

    trainer.tuple_trainer.step = killed


def read_events(folder):
    """(step, name) of all TensorBoard scalars."""
    found = []
    for path in folder.glob("events*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = event_pb2.Event.FromString(record.numpy())
            found += [(event.step, value.tag) for value in event.summary.value]
    return found


def test_training_lowers_the_loss_and_leaves_figures_and_the_best_weights(make_small_trainer, tmp_path):
    trainer = make_small_trainer(epochs=6, decay_every=4, refresh_every=6)
    state = trainer.fit()
    rows = list(csv.DictReader((tmp_path / "run" / "log.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(7))
    losses = [float(row["loss"]) for row in rows[1:]]
    assert losses[-1] < losses[0]
    assert trainer.validate().at(1) == max(float(row["recall@1"]) for row in rows)
    assert [float(row["learning_rate"]) for row in rows] == [0.05] * 5 + [0.025] * 2
    # Windows of three steps, 0, 1 and 2 since the refresh; from the fifth epoch on of six steps.
    assert [float(row["cache_age"]) for row in rows[1:]] == [1.0] * 4 + [2.5] * 2
    assert state.refreshes == 2 * 4 + 2
    for row in rows[1:]:
        parts = [float(row[f"seconds_{part}"]) for part in PARTS]
        assert 0 < sum(parts) <= float(row["seconds"]) + 0.1
        assert min(parts[:-1]) >= 0
        assert 0 <= float(row["violating"]) <= 1
    assert (6, "seconds_refresh") in read_events(tmp_path / "run" / "tensorboard")


def test_time_that_the_frozen_layers_took_counts_for_the_epoch_that_comes_first(make_small_trainer, tmp_path):
    def rows():
        return list(csv.DictReader((tmp_path / "run" / "log.csv").read_text().splitlines()))

    make_small_trainer(epochs=1, refresh_every=12).fit({"frozen_layers": 40.0})
    assert [float(row["seconds_frozen_layers"]) for row in rows()] == [40.0, 0.0]
    assert float(rows()[0]["seconds"]) >= 40
    assert float(rows()[1]["seconds"]) < 40
    make_small_trainer(epochs=2, refresh_every=12).fit({"frozen_layers": 50.0})  # They had to be computed anew.
    assert [float(row["seconds_frozen_layers"]) for row in rows()] == [40.0, 0.0, 50.0]


def test_resumed_run_ends_with_the_same_weights_bit_by_bit(unbroken, killed, go_on, tmp_path):
    """Six steps an epoch, two a window: killed in the middle of the second window of the second epoch."""
    assert names(killed)[-1] == "epoch-0001-window-0001-step-000001"
    resumed = go_on(killed, checkpoint_every=4)
    steps = itertools.count()
    step = resumed.tuple_trainer.step
    resumed.tuple_trainer.step = lambda *batch: (next(steps), step(*batch))[1]
    resumed.fit()
    assert next(steps) == 9  # of 18: none of the nine before is trained again
    assert unbroken.state.epoch == 3
    assert_same_run(unbroken, resumed)
    events = read_events(tmp_path / "run" / "tensorboard")
    assert len(events) == len(set(events))
    assert {step for step, _ in events} == {0, 1, 2, 3}
    rows = list(csv.DictReader((tmp_path / "run" / "log.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]


def test_damaged_checkpoint_costs_its_steps_and_nothing_else(unbroken, killed, go_on, tmp_path, caplog):
    resumed = go_on(killed, checkpoint_every=1)
    last = tmp_path / "run" / "checkpoints" / "epoch-0001-window-0001-step-000001"
    (last / "weights.npz").write_bytes(b"half")
    resumed.fit()
    assert f"Checkpoint {last} is damaged" in caplog.text
    assert_same_run(unbroken, resumed)


def test_run_with_fewer_epochs_than_it_has_ends_with_the_best_of_those_that_are_complete(short, killed, go_on):
    resumed = go_on(killed, epochs=1)
    resumed.tuple_trainer.step = None  # would fail if called
    assert resumed.fit().epoch == 1
    assert resumed.state.best_epoch == short.state.best_epoch
    for a, b in zip(weights(resumed), weights(short), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("role", ["train", "validation"])
def test_run_is_not_resumed_on_other_images(short, role):
    places = {"train": short.miner.train, "validation": short.validation.images}
    dataset = places[role].dataset
    fewer = ImageSet(dataset.queries.paths[1:], dataset.queries.positions[1:])
    places[role] = dataclasses.replace(places[role], dataset=dataclasses.replace(dataset, queries=fewer))
    validation = RecallValidation(places["validation"])
    other = Trainer(short.model, SARELoss(), places["train"], validation, short.log.folder, short.workers.strategy)
    with pytest.raises(ValueError, match=f"was written on other datasets.* Received: {role}: [^;]* now$"):
        other.fit()


def test_image_in_the_place_of_another_is_another_dataset(make_small_trainer):
    places = make_small_trainer().validation.images
    known = places.fingerprint
    assert known == make_small_trainer("other").validation.images.fingerprint
    assert known.startswith("8 database images and 8 queries, checksum ")
    database = places.dataset.database
    order = [1, 0, *range(2, 8)]
    for changed in (
        ImageSet(database.paths[order], database.positions),
        ImageSet(database.paths, database.positions[order]),
    ):
        dataset = dataclasses.replace(places.dataset, database=changed)
        assert dataclasses.replace(places, dataset=dataset).fingerprint != known


def test_epoch_that_is_kept_is_the_chiefs_choice(make_small_trainer):
    trainer = make_small_trainer(epochs=1, refresh_every=12)
    recalls = iter([0.2, 0.9])
    trainer.workers.broadcast = lambda values: np.full_like(values, next(recalls))
    state = trainer.fit()
    assert [row["recall@1"] for row in state.history] == [0.2, 0.9]
    assert state.best_epoch == 1
    assert RecallReport.from_json(state.best).at(1) == 0.9


@pytest.mark.parametrize(("keep_untrained", "kept"), [(True, 0), (False, 2)])
def test_untrained_model_is_the_best_epoch_only_where_it_may_be(make_small_trainer, keep_untrained, kept):
    trainer = make_small_trainer(epochs=3, keep_untrained=keep_untrained, refresh_every=12)
    recalls = iter([0.9, 0.2, 0.3, 0.3])
    trainer.workers.broadcast = lambda values: np.full_like(values, next(recalls))
    start = weights(trainer)
    assert trainer.fit().best_epoch == kept
    assert all(np.array_equal(a, b) for a, b in zip(weights(trainer), start, strict=True)) == (kept == 0)


def test_workers_that_find_different_checkpoints_do_not_train(short, go_on):
    trainer = go_on(short.log.folder)
    trainer.workers.all_gather = lambda rows, n: np.concatenate([[[-1, -1, 0]], rows])  # The chief found none.
    trainer.tuple_trainer.step = None  # would fail if called
    with pytest.raises(
        ValueError, match=r"`folder` must be one that all workers share.* step\]=\[\[-1, -1, 0\], \[1, -1, 0\]\]"
    ):
        trainer.fit()


def test_two_replicas_train_like_one(make_small_trainer, mirrored):
    one = make_small_trainer("one", dropout=0, epochs=2)
    two = make_small_trainer("two", dropout=0, epochs=2, strategy=mirrored)
    history = one.fit().history
    shared = two.fit().history
    np.testing.assert_allclose([r["loss"] for r in shared[1:]], [r["loss"] for r in history[1:]], rtol=1e-6)
    for a, b in zip(weights(one), weights(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_finished_run_is_not_trained_again(short, go_on):
    again = go_on(short.log.folder, epochs=1)
    again.tuple_trainer.step = None  # would fail if called
    assert again.fit().epoch == 1
    assert_same_run(short, again)


def test_training_stops_when_validation_stops_rising(make_small_trainer):
    state = make_small_trainer(epochs=50, patience=2, learning_rate=1e-9, refresh_every=12).fit()
    assert state.epoch == state.best_epoch + 2


@pytest.fixture
def fed(make_places, settings, tmp_path, without_picture):
    """A run on a model in two parts, with the first stored, or computed in every step, or augmented by nothing."""

    def run(way):
        keras.utils.set_random_seed(3)
        images = keras.Input((12, 16, 3))
        x = keras.layers.AveragePooling2D(4, name="pool")(keras.layers.Rescaling(1 / 255)(images))
        x = keras.layers.Dense(5, name="last")(keras.layers.Flatten()(keras.layers.Conv2D(4, 3, name="conv")(x)))
        trunk, head = split(keras.Model(images, keras.layers.UnitNormalization()(x)), "conv")
        one_epoch = dataclasses.replace(settings, epochs=1, refresh_every=12)
        places = [make_places("train", 12, 0, one_epoch), make_places("val", 8, 1, one_epoch)]
        if way != "computed":
            for i, one in enumerate(places):
                pixels = one.inputs.gather(tf.range(len(one.inputs.paths)))
                places[i] = dataclasses.replace(one, inputs=StoredInputs(trunk(pixels).numpy()), stored=True)
        if way == "augmented":
            paths = np.concatenate([places[0].dataset.database.paths, places[0].dataset.queries.paths])
            places[0] = dataclasses.replace(places[0], augmented=AugmentedInputs(paths, (12, 16), Augmentation(), 0))
        train = places[0]
        validation = RecallValidation(places[1])
        trainer = Trainer(head, SARELoss(), train, validation, tmp_path / way, tf.distribute.get_strategy(), trunk)
        trainer.fit()
        return trainer

    return run


def test_frozen_part_gives_the_same_run_stored_or_computed_in_every_step(fed):
    stored = fed("stored")
    for other in (fed("computed"), fed("augmented")):
        before, after = other.state.history
        np.testing.assert_allclose(after["loss"], stored.state.history[1]["loss"], rtol=1e-5)
        assert before["recall@1"] == stored.state.history[0]["recall@1"]
        for a, b in zip(weights(other), weights(stored), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_augmented_images_need_the_layers_whose_output_is_stored(make_small_trainer, tmp_path):
    trainer = make_small_trainer()
    places = dataclasses.replace(trainer.miner.train, augmented=trainer.miner.train.inputs)
    with pytest.raises(ValueError, match="`frozen` must be given where `train` is stored and augmented"):
        Trainer(trainer.model, SARELoss(), places, trainer.validation, tmp_path, tf.distribute.get_strategy())


def test_model_that_computes_in_float16_is_trained_through_a_scaled_loss(make_small_trainer):
    plain = make_small_trainer()
    assert isinstance(plain.tuple_trainer.optimizer, keras.optimizers.SGD)
    set_precision(plain.model, "mixed_float16")
    train = plain.miner.train
    validation = plain.validation
    folder = plain.log.folder
    scaled = Trainer(plain.model, SARELoss(), train, validation, folder, plain.workers.strategy)
    assert isinstance(scaled.tuple_trainer.optimizer, keras.optimizers.LossScaleOptimizer)


class Broken(SARELoss):
    """Not a number from the third step on."""

    def __init__(self):
        super().__init__()
        self.steps = tf.Variable(0)

    def call(self, *arguments):
        self.steps.assign_add(1)
        return super().call(*arguments) * tf.where(self.steps < 3, 1.0, float("nan"))


def test_loss_that_is_not_finite_names_the_images_and_leaves_the_checkpoint(make_small_trainer, tmp_path):
    with pytest.raises(
        FloatingPointError, match="The loss is nan in epoch 1, step 3, at the learning rate 0.05"
    ) as info:
        make_small_trainer(loss=Broken(), epochs=1, refresh_every=12).fit()
    assert str(info.value).count("train_query_") == 2
    assert str(info.value).count("train_database_") == 2 * 3
    assert "The last checkpoint, epoch-0000-window-0000-step-000000, is whole" in str(info.value)
    assert names(tmp_path / "run") == ["epoch-0000", "epoch-0000-window-0000-step-000000"]
    unbroken = make_small_trainer("unbroken", epochs=1, refresh_every=12)
    resumed = make_small_trainer(epochs=1, refresh_every=12)
    unbroken.fit()
    resumed.fit()
    assert_same_run(unbroken, resumed)


def test_weight_that_is_not_finite_is_not_written(make_small_trainer, tmp_path):
    """The loss of a step is that before its update: it does not show what the last update before a checkpoint does."""
    trainer = make_small_trainer(checkpoint_every=2)
    step = trainer.tuple_trainer.step
    steps = itertools.count(1)

    def spoils(*batch):
        loss = step(*batch)
        if next(steps) == 4:
            trainer.model.get_layer("last").bias.assign(np.full(5, np.nan))
        return loss

    trainer.tuple_trainer.step = spoils
    with pytest.raises(FloatingPointError, match="A weight is not finite after the update in epoch 1, step 4"):
        trainer.fit()
    assert names(tmp_path / "run")[-1] == "epoch-0000-window-0001-step-000000"


def test_unreadable_image_stops_the_run_with_its_name_and_the_run_goes_on_when_it_is_back(make_trainer, tmp_path):
    trainer = make_trainer(epochs=1, refresh_every=12)
    path = tmp_path / "photos" / "train_query_7.jpg"
    whole = path.read_bytes()
    mine = trainer.miner.mine
    stopped = f"Cannot read image {path}: .*resume the run. The last checkpoint, epoch-0000"

    def damages_before(*arguments):
        path.write_bytes(whole[:100])
        return mine(*arguments)

    def damages_after(*arguments):
        window = mine(*arguments)
        path.write_bytes(whole[:100])
        return window

    for damages in (damages_before, damages_after):  # seen by the refresh, and by a step
        trainer.miner.mine = damages
        with pytest.raises(ValueError, match=stopped):
            trainer.fit()
        path.write_bytes(whole)
    trainer.miner.mine = mine
    assert trainer.fit().epoch == 1
    assert (tmp_path / "run" / "training.png").read_bytes()[1:4] == b"PNG"


def test_log_that_cannot_be_written_is_written_by_the_resumed_run(make_small_trainer, tmp_path):
    trainer = make_small_trainer(epochs=1, refresh_every=12)
    trainer.log.write = lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    with pytest.raises(
        OSError, match="Cannot write the log .*No space left.* The last checkpoint, epoch-0000, is whole"
    ):
        trainer.fit()
    make_small_trainer(epochs=1, refresh_every=12).fit()
    assert len((tmp_path / "run" / "log.csv").read_text().splitlines()) == 3


def test_model_without_clusters_warns(make_trainer, monkeypatch):
    def killed():
        raise Killed

    trainer = make_trainer(initialise=False)
    monkeypatch.setattr(trainer, "validate", killed)
    with pytest.warns(UserWarning, match="is being trained without clusters"), pytest.raises(Killed):
        trainer.fit()


def test_tuples_must_divide_over_the_replicas(make_small_trainer, mirrored):
    with pytest.raises(ValueError, match="`tuples_per_step` must be a multiple of the number of replicas, 2"):
        make_small_trainer(strategy=mirrored, tuples_per_step=3)


def test_fewer_queries_than_a_step_needs_are_refused(make_small_trainer):
    with pytest.raises(ValueError, match="must not exceed the training queries of an epoch, 12 with a positive"):
        make_small_trainer(tuples_per_step=16, refresh_every=100)


def test_adam_trains_and_resumes_to_the_same_weights(make_small_trainer, caplog):
    caplog.set_level("INFO", "keras_sare")
    changed = {"optimizer": "adam", "learning_rate": 0.01, "schedule": "cosine", "select": "last"}
    changed |= {"epochs": 2, "refresh_every": 12}
    unbroken = make_small_trainer("unbroken", **changed)
    unbroken.fit()
    broken = make_small_trainer("broken", **changed)
    kill_at(broken, 8)
    with pytest.raises(Killed):
        broken.fit()
    resumed = make_small_trainer("broken", **changed)
    resumed.fit()
    for a, b in zip(weights(unbroken), weights(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert resumed.state.best_epoch == 2  # the last one, whatever its recall
    assert "Kept epoch: 2 of 2 (the last)" in caplog.text
    losses = [row["loss"] for row in unbroken.state.history[1:]]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("select", "warned"), [("last", True), ("best", False)])
def test_last_epoch_that_is_kept_though_the_model_before_training_was_better_is_warned_of(
    make_small_trainer, caplog, select, warned
):
    caplog.set_level("INFO", "keras_sare")
    # Steps so large that nothing is left of what the first weights tell apart.
    trainer = make_small_trainer(learning_rate=20.0, epochs=1, refresh_every=12, select=select)
    trainer.fit()
    before, after = (row["recall@1"] for row in trainer.state.history)
    assert after < before
    worse = f"worse than the model before training: recall@1 {after:.4g}, before {before:.4g}"
    assert (worse in caplog.text) == warned
    assert ("Kept epoch: 0, the model before training, of 1" in caplog.text) == (not warned)


@pytest.mark.parametrize("mining", ["random", "full"])
def test_batches_of_places_train_and_go_on_after_a_kill(make_small_trainer, mining):
    """Each place has one database image and one query, so a step of four places has six negatives an image."""
    chosen = {"batches": "places", "images_per_place": 2, "tuples_per_step": 4, "epochs": 2, "mining": mining}
    chosen["refresh_every"] = 8

    def make(name):
        return make_small_trainer(name, loss=PlaceBatchLoss(InfoNCELoss()), **chosen)

    whole = make("whole")
    whole.fit()
    rows = whole.state.history
    assert rows[2]["loss"] < rows[1]["loss"]
    assert [(row["violating"], row["cache_age"]) for row in rows] == [("", "")] * 3
    killed = make("killed")
    steps = itertools.count()
    step = killed.tuple_trainer.step

    def dies(*batch):
        if next(steps) == 4:
            raise Killed
        return step(*batch)

    killed.tuple_trainer.step = dies
    with pytest.raises(Killed):
        killed.fit()
    again = make("killed")
    again.fit()
    for one, other in zip(whole.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
