import csv
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.losses import SARELoss
from keras_sare.training import Trainer, TrainingSettings


class Killed(BaseException):
    """Stands for a kill: nothing in the program handles it."""


@pytest.fixture
def make_trainer(make_places, make_model, settings, tmp_path):
    def make(folder="run", strategy=None, model=None, settings=settings, loss=None):
        strategy = strategy or tf.distribute.get_strategy()
        train, validation = make_places("train", 12, 0, settings), make_places("val", 8, 1, settings)
        model = model or make_model(strategy)
        return Trainer(model, loss or SARELoss(), train, validation, settings, tmp_path / folder, strategy)

    return make


def weights(trainer):
    return [keras.ops.convert_to_numpy(w) for w in trainer.model.weights]


def test_training_lowers_the_loss_and_leaves_logs_and_the_best_weights(make_trainer, tmp_path):
    trainer = make_trainer(settings=TrainingSettings(8, 2, 2, 6, learning_rate=1e-4, refresh_every=6))
    progress = trainer.fit()
    rows = list(csv.DictReader((tmp_path / "run" / "log.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(progress.epoch + 1))
    losses = [float(row["loss"]) for row in rows[1:]]
    assert losses[-1] < losses[0]
    assert trainer.validate().at(5) == max(float(row["recall@5"]) for row in rows)
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))


def test_resumed_run_ends_with_the_same_weights_bit_by_bit(make_trainer, tmp_path, monkeypatch):
    unbroken = make_trainer("unbroken")
    expected = unbroken.fit()

    broken = make_trainer("broken")
    count, step = itertools.count(), broken.step

    def killed_in_the_second_epoch(inputs):
        if next(count) == 8:
            raise Killed
        return step(inputs)

    monkeypatch.setattr(broken, "step", killed_in_the_second_epoch)
    with pytest.raises(Killed):
        broken.fit()
    resumed = make_trainer("broken")
    progress = resumed.fit()
    assert progress.epoch == expected.epoch == 3
    assert progress.best_epoch == expected.best_epoch
    assert progress.best == expected.best
    for a, b in zip(weights(unbroken), weights(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    for key in ("loss", "recall@1", "recall@5"):
        assert [row[key] for row in progress.history] == [row[key] for row in expected.history]


def test_two_replicas_train_like_one(make_trainer):
    one, two = make_trainer("one"), make_trainer("two", tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    history, mirrored = one.fit().history, two.fit().history
    np.testing.assert_allclose([r["loss"] for r in mirrored[1:]], [r["loss"] for r in history[1:]], rtol=1e-4)
    for a, b in zip(weights(one), weights(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_finished_run_is_not_trained_again(make_trainer):
    make_trainer().fit()
    again = make_trainer()
    again.step = None  # would fail if called
    assert again.fit().epoch == 3


def test_training_stops_when_validation_stops_rising(make_trainer):
    settings = TrainingSettings(
        epochs=50, tuples_per_step=2, negatives=2, negative_pool=6, patience=2, learning_rate=1e-9, refresh_every=6
    )
    progress = make_trainer(settings=settings).fit()
    assert progress.epoch == progress.best_epoch + 2


def test_loss_that_is_not_finite_names_the_images_and_leaves_the_checkpoint(make_trainer, tmp_path):
    class Broken(SARELoss):
        def from_distances(self, *distances):
            return super().from_distances(*distances) * float("nan")

    with pytest.raises(FloatingPointError, match="loss is nan in epoch 1, step 1.*train_query_.*train_database_"):
        make_trainer(loss=Broken()).fit()
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["epoch-0000"]


def test_model_without_clusters_warns(make_trainer, make_model):
    with pytest.warns(UserWarning, match="is being trained without clusters"):
        make_trainer(model=make_model(initialise=False)).fit()


def test_tuples_must_divide_over_the_replicas(make_trainer):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with pytest.raises(ValueError, match="`tuples_per_step` must be a multiple of the number of replicas, 2"):
        make_trainer(strategy=strategy, settings=TrainingSettings(tuples_per_step=3, negatives=2))


def test_fewer_queries_than_a_step_needs_are_refused(make_trainer):
    with pytest.raises(ValueError, match="must not exceed the training queries with a positive, 12"):
        make_trainer(settings=TrainingSettings(tuples_per_step=16, negatives=2))
