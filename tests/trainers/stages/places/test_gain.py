import dataclasses
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.datasets import ImageSet, PlaceDataset
from keras_sare.distribution import Workers
from keras_sare.extraction import StoredInputs
from keras_sare.training import Places, PlaceSettings, RunFolder
from trainers.stages.places.gain import warn_of_chance
from trainers.stages.run import Run


def scaling(factors):
    inputs = keras.Input((6,))
    scaled = keras.layers.Rescaling(factors)(inputs)
    return keras.Model(inputs, keras.layers.UnitNormalization()(scaled))


@pytest.fixture
def run(tmp_path):
    strategy = tf.distribute.get_strategy()
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    scaling([1.0] * 6).save(folder.off_the_shelf)
    return Run(None, PlaceSettings(), strategy, Workers(strategy), folder)


@pytest.fixture
def places(run):
    """Places 40 m apart, seen twice: three numbers tell the place, three are noise."""
    rng = np.random.default_rng(0)
    told = rng.normal(size=(80, 3))
    seen = np.concatenate([np.concatenate([told, rng.normal(size=(80, 3))], axis=1) for _ in range(2)])
    positions = np.stack([40.0 * np.arange(80), np.zeros(80)], axis=1)
    sides = [ImageSet([f"{role}{i}" for i in range(80)], positions) for role in ("database", "query")]
    dataset = PlaceDataset("val", sides[0], dataclasses.replace(sides[1], positions=positions + 3.0))
    inputs = StoredInputs(seen.astype("float32"))
    return Places(dataset, inputs, run.settings, run.folder.path / "spill", stored=True)


@pytest.mark.parametrize(
    ("factors", "level", "said"),
    [
        ([1.0, 1, 1, 0.2, 0.2, 0.2], logging.INFO, "beyond chance"),
        (
            [1.0, 1, 1, 1, 1, 1],
            logging.WARNING,
            r"rank by +0.000 (95 % interval +0.000 to +0.000, 80 queries): no gain",
        ),
        ([0.5, 1, 1, 1.05, 1, 1], logging.WARNING, "no gain beyond chance. The model before training is"),
    ],
)
def test_gain_of_a_training_is_told_as_beyond_chance_or_not(run, places, caplog, factors, level, said):
    caplog.set_level(logging.INFO, "keras_sare")
    warn_of_chance(run, scaling(factors), places, lambda model: model)
    (record,) = [one for one in caplog.records if one.name == "keras_sare.pitts"]
    assert record.levelno == level
    assert said in record.getMessage()
