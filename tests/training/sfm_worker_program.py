"""One worker of a small training run on photos of unlike shapes: what test_two_workers.py starts in processes.

python sfm_worker_program.py FOLDER: trains on the photos that `make_photos` left in FOLDER with the workers of
TF_CONFIG, and leaves what came out in FOLDER/result-<worker>.npz.
"""

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.distribution import choose_strategy
from keras_sare.layers import MAC
from keras_sare.losses import ContrastiveLoss
from keras_sare.models import split
from keras_sare.training import MeanAveragePrecisionValidation, SfMPhotos, SfMSettings, Trainer, open_feature_store

SETTINGS = SfMSettings(
    epochs=1, tuples_per_step=2, negatives=2, learning_rate=0.05, mine_times=2, positive="m2", select="last"
)


def make_photos(folder: Path) -> None:
    """Four photos of each of three patterns, upright or not; each sees a point that the one before sees."""
    folder.mkdir(parents=True)
    for seed, name in enumerate(("train", "val")):
        rng = np.random.default_rng(seed)
        paths = []
        for i in range(12):
            if i % 4 == 0:
                pattern = rng.integers(0, 200, (4, 6, 3))
            noisy = (pattern + rng.integers(0, 50, pattern.shape)).astype(np.uint8)
            paths.append(str(folder / f"{name}-{i}.png"))
            Image.fromarray(noisy).resize((48, 32) if i % 2 else (32, 48)).save(paths[-1])
        images = np.arange(12)
        SfMDataset(
            name,
            paths,
            models=images // 4,
            clusters=images // 4,
            centres=np.stack([images % 4, 0 * images, 0 * images], axis=1),
            point_starts=2 * np.arange(13),
            points=((images + images // 4)[:, None] + np.arange(2)).ravel(),
            scales=np.ones(24),
        ).save(folder / f"{name}.npz")


def train(folder: Path, strategy: tf.distribute.Strategy) -> dict[str, Any]:
    """Trains; returns weights, how far they went, loss, and mean average precision."""
    keras.utils.set_random_seed(3)
    with strategy.scope():
        inputs = keras.Input((None, None, 3))
        x = keras.layers.Conv2D(4, 4, strides=4, name="frozen")(keras.layers.Rescaling(1 / 255)(inputs))
        model = keras.Model(inputs, MAC()(keras.layers.Conv2D(6, 3, activation="relu", name="trained")(x)))
        trunk, head = split(model, "trained")
    trunk.trainable = False
    before = head.get_weights()
    data = {name: SfMDataset.load(folder / f"{name}.npz") for name in ("train", "val")}
    opened, stored = open_feature_store(
        {name: one.paths for name, one in data.items()},
        trunk,
        48,
        SETTINGS,
        folder / "store",
        1e9,
        dtype="float32",
        strategy=strategy,
    )
    photos = {
        name: SfMPhotos(one, opened[name], SETTINGS, folder / "spill", stored=stored) for name, one in data.items()
    }
    validation = MeanAveragePrecisionValidation(photos["val"])
    trainer = Trainer(head, ContrastiveLoss(), photos["train"], validation, folder / "run", strategy, trunk)
    state = trainer.fit()
    weights = {f"weight_{i}": weight for i, weight in enumerate(head.get_weights())}
    moved = [np.linalg.norm(weight - start) for weight, start in zip(weights.values(), before, strict=True)]
    return weights | {
        "moved": moved,
        "stored": stored,
        "losses": [row["loss"] for row in state.history[1:]],
        "mean_average_precisions": [row["mAP"] for row in state.history],
    }


if __name__ == "__main__":
    chosen = choose_strategy()
    result = train(Path(sys.argv[1]), chosen)
    np.savez(Path(sys.argv[1]) / f"result-{chosen.cluster_resolver.task_id}.npz", **result)
