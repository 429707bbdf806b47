"""The training loop on photos of 3D models."""

import csv
import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sare.layers import MAC
from keras_sare.losses import ContrastiveLoss
from keras_sare.models import split
from keras_sare.training import MeanAveragePrecisionValidation, Trainer, open_feature_store


class Killed(BaseException):
    """Stands for a kill: nothing in the program handles it."""


@pytest.fixture
def make_trainer(make_sfm_photos, tmp_path):
    def make(run="run", **changed):
        keras.utils.set_random_seed(3)
        images = keras.Input((None, None, 3))
        features = keras.layers.Conv2D(6, 4, strides=4, activation="relu")(keras.layers.Rescaling(1 / 255)(images))
        model = keras.Model(images, MAC()(features))
        validation = MeanAveragePrecisionValidation(make_sfm_photos("val", 4, 1, **changed))
        train = make_sfm_photos("train", 4, 0, **changed)
        strategy = tf.distribute.get_strategy()
        return Trainer(model, ContrastiveLoss(), train, validation, tmp_path / run, strategy)

    return make


def kill_at(trainer, step):
    """Lets a run die before a step, counted from 0 over all epochs."""
    original = trainer.tuple_trainer.step
    done = []

    def killed(*batch):
        if len(done) == step:
            raise Killed
        done.append(step)
        return original(*batch)

    trainer.tuple_trainer.step = killed


def without_seconds(history):
    return [{key: value for key, value in row.items() if not key.startswith("seconds")} for row in history]


def test_run_shows_mean_average_precision_and_keeps_its_best_epoch(make_trainer, tmp_path, caplog):
    caplog.set_level("INFO", "keras_sare")
    trainer = make_trainer()
    state = trainer.fit()
    rows = list(csv.DictReader((tmp_path / "run" / "log.csv").read_text().splitlines()))
    measured = [float(row["mAP"]) for row in rows]
    assert len(measured) == 3
    assert len(set(measured)) > 1  # else no epoch is better than another
    assert state.best_epoch == int(np.argmax(measured))
    assert trainer.validate().mean_average_precision == max(measured)
    assert [row["mP@1"] for row in rows] == [str(row["mP@1"]) for row in state.history]
    assert "Epoch 2: epoch 2, loss" in caplog.text
    assert f"mAP {measured[2]:.4g}, mP@1" in caplog.text
    assert (tmp_path / "run" / "training.png").read_bytes()[1:4] == b"PNG"
    assert state.refreshes == 2 * 2
    # Windows of four steps: 0 to 3 since the refresh.
    assert [float(row["cache_age"]) for row in rows[1:]] == [1.5] * 2


def test_killed_run_is_resumed_to_the_same_weights_bit_by_bit(make_trainer, without_picture):
    unbroken = make_trainer("unbroken", mine_times=1)
    broken = make_trainer("broken", mine_times=1, checkpoint_every=1)
    unbroken.fit()
    kill_at(broken, 11)  # the fourth step of the second epoch
    with pytest.raises(Killed):
        broken.fit()
    resumed = make_trainer("broken", mine_times=1, checkpoint_every=1)
    resumed.fit()
    for a, b in zip(unbroken.model.weights, resumed.model.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))
    assert without_seconds(unbroken.state.history) == without_seconds(resumed.state.history)
    assert (unbroken.state.best_epoch, unbroken.state.best) == (resumed.state.best_epoch, resumed.state.best)


def test_run_is_not_resumed_on_other_models(make_trainer, make_sfm_photos, without_picture):
    trainer = make_trainer(epochs=1, checkpoint_every=1)
    kill_at(trainer, 1)
    with pytest.raises(Killed):
        trainer.fit()
    other = make_trainer(epochs=1)
    validation = MeanAveragePrecisionValidation(make_sfm_photos("val", 3, 1))
    folder = trainer.log.folder
    strategy = trainer.workers.strategy
    other = Trainer(other.model, ContrastiveLoss(), other.miner.train, validation, folder, strategy)
    with pytest.raises(ValueError, match="was written on other datasets.* Received: validation: 16 images of 4 models"):
        other.fit()


@pytest.fixture
def make_unlike_trainer(make_sfm_photos, tmp_path, without_picture):
    """Makes a run on photos of two shapes; the frozen layers' output is stored, or not."""
    photos = {name: make_sfm_photos(name, 3, seed, epochs=1) for seed, name in enumerate(("train", "val"))}
    for one in photos.values():
        for i, path in enumerate(one.paths.tolist()):
            Image.open(path).resize((48, 32) if i % 2 else (32, 48)).save(path)

    def make(run, store_limit, strategy=None, **changed):
        keras.utils.set_random_seed(3)
        strategy = strategy or tf.distribute.get_strategy()
        with strategy.scope():
            images = keras.Input((None, None, 3))
            x = keras.layers.Conv2D(4, 4, strides=4, name="frozen")(keras.layers.Rescaling(1 / 255)(images))
            model = keras.Model(images, MAC()(keras.layers.Conv2D(6, 3, activation="relu", name="trained")(x)))
            trunk, head = split(model, "trained")
        trunk.trainable = False
        # Else the weights before the first epoch might be kept, which are alike however it goes.
        settings = dataclasses.replace(photos["train"].settings, select="last", **changed)
        paths = {name: one.paths for name, one in photos.items()}
        store = tmp_path / f"{run} store"
        inputs, stored = open_feature_store(
            paths, trunk, 48, settings, store, store_limit, dtype="float32", strategy=strategy
        )
        assert stored == (store_limit > 0)
        train, val = (
            dataclasses.replace(photos[name], inputs=inputs[name], stored=stored, settings=settings)
            for name in ("train", "val")
        )
        validation = MeanAveragePrecisionValidation(val)
        return Trainer(head, ContrastiveLoss(), train, validation, tmp_path / run, strategy, trunk)

    return make


def test_photos_of_unlike_shapes_train_alike_stored_or_not_on_one_replica_or_two(make_unlike_trainer, mirrored):
    one = make_unlike_trainer("stored", 1e9)
    before = one.model.get_weights()
    _, expected = one.fit().history
    for name, store_limit, strategy in (("computed", 0, None), ("two", 1e9, mirrored), ("two computed", 0, mirrored)):
        other = make_unlike_trainer(name, store_limit, strategy)
        _, found = other.fit().history
        assert expected["loss"] == pytest.approx(found["loss"], rel=1e-5), name
        for mine, theirs in zip(one.state.history, other.state.history, strict=True):
            assert mine["mAP"] == pytest.approx(theirs["mAP"]), name
        for start, x, y in zip(before, one.model.get_weights(), other.model.get_weights(), strict=True):
            assert np.linalg.norm(x - start) > 1e-3
            assert np.linalg.norm(x - y) < 1e-4 * np.linalg.norm(x - start), name


@pytest.mark.parametrize("option", ["jit_compile", "mirror"])
def test_step_on_photos_of_unlike_shapes_is_not_compiled_and_not_mirrored(make_unlike_trainer, option):
    with pytest.raises(
        ValueError, match=f"`{option}` must be False where images are of unlike.*{option}=True, 2 sizes of 'train'"
    ):
        make_unlike_trainer("refused", 0, **{option: True})
