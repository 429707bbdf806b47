"""One worker of a small training run: what test_two_workers.py starts in processes of their own.

python worker_program.py FOLDER [STEP]: trains in FOLDER with the workers of TF_CONFIG, leaves what came out in
FOLDER/result-<worker>.npz, and kills itself before it has trained STEP steps.
"""

import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sare.datasets import ImageSet, PlaceDataset
from keras_sare.distribution import choose_strategy
from keras_sare.extraction import StoredInputs
from keras_sare.losses import SARELoss
from keras_sare.mining import HardNegativeMiner
from keras_sare.training import Places, PlaceSettings, RecallValidation, Trainer, logs

SETTINGS = PlaceSettings(
    epochs=2,
    tuples_per_step=4,
    negatives=3,
    negative_pool=12,
    learning_rate=0.1,
    refresh_every=8,
    select_by=1,
    extraction_batch=5,
    checkpoint_every=3,
)
SIGNAL = np.array([1, 1, 1, 1, 1, 1, 0, 0])
"""Channels that tell places apart."""

STEPS = 10
"""Of the whole run: 20 queries an epoch, 4 a step."""


class CountedInputs(StoredInputs):
    """Counts the images that are described."""

    described = 0

    def batches(self, ids: np.ndarray, batch_size: int) -> Any:
        self.described += len(ids)
        return super().batches(ids, batch_size)


def make_places(folder: Path, name: str, places: int, seed: int) -> Places:
    """Places 40 m apart along a line, each seen twice, 3 m apart; two channels are noise, which can be learnt."""
    rng = np.random.default_rng(seed)
    colours = rng.normal(size=(places, 1, 1, 8)) * SIGNAL
    noise = [rng.normal(size=(places, 1, 1, 8)) * (3.3 - 3 * SIGNAL) for _ in range(2)]
    seen = [colours + one + 0.1 * rng.normal(size=(places, 4, 4, 8)) for one in noise]
    sides = []
    for offset in (0.0, 3.0):
        positions = np.stack([40.0 * np.arange(places) + offset, np.zeros(places)], axis=1)
        sides.append(ImageSet([f"{name}-{offset}-{i}" for i in range(places)], positions))
    inputs = CountedInputs(np.concatenate(seen).astype(np.float32))
    return Places(PlaceDataset(name, *sides), inputs, SETTINGS, folder / "spill", stored=True)


def make_model(strategy: tf.distribute.Strategy) -> keras.Model:
    keras.utils.set_random_seed(3)
    with strategy.scope():
        inputs = keras.Input((4, 4, 8))
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 2)(inputs))
        return keras.Model(inputs, keras.layers.UnitNormalization()(x))


def train(folder: Path, strategy: tf.distribute.Strategy, kill_at: int = STEPS + 1) -> dict[str, Any]:
    """Trains; returns weights, losses, and how much this worker had to do."""
    model = make_model(strategy)
    train_places = make_places(folder, "train", 20, 0)
    validation = make_places(folder, "val", 25, 1)
    trainer = Trainer(model, SARELoss(), train_places, RecallValidation(validation), folder / "run", strategy)
    step = trainer.tuple_trainer.step
    steps = itertools.count()
    mine = HardNegativeMiner.mine
    mined = []

    def killed_step(*batch: Any) -> Any:
        if next(steps) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*batch)

    def counted_mine(self: HardNegativeMiner, queries: np.ndarray, *rest: Any) -> Any:
        mined.append(len(queries))
        return mine(self, queries, *rest)

    trainer.tuple_trainer.step = killed_step
    HardNegativeMiner.mine = counted_mine
    try:
        state = trainer.fit()
    finally:
        HardNegativeMiner.mine = mine
    weights = {f"weight_{i}": keras.ops.convert_to_numpy(weight) for i, weight in enumerate(model.weights)}
    return weights | {
        "losses": [row["loss"] for row in state.history[1:]],
        "recalls": [row["recall@1"] for row in state.history],
        "best_epoch": state.best_epoch,
        "steps": next(steps),
        "mined": sum(mined),
        "described": train_places.inputs.described,
        "described_validation": validation.inputs.described,
    }


if __name__ == "__main__":
    logs.draw_training = lambda *_: None  # It takes longer than an epoch.
    chosen = choose_strategy()
    resolver = chosen.cluster_resolver
    result = train(Path(sys.argv[1]), chosen, *map(int, sys.argv[2:]))
    np.savez(Path(sys.argv[1]) / f"result-{resolver.task_id}.npz", **result)
