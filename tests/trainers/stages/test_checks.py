import shutil

import keras
import numpy as np
import pytest

from keras_sare.datasets import open_splits
from keras_sare.training import PlaceSettings
from keras_sare.whitening import fit_pca_whitening
from trainers.stages.checks import (
    check_room,
    check_whitening,
    disk_needed,
    distinct_images,
    late_dimension,
    spilled,
)


def test_whitening_counts_images_that_differ(town, tmp_path):
    copy = tmp_path / "town"
    shutil.copytree(town, copy)
    train = open_splits(copy)["train"]
    sample = np.arange(len(train.database))
    assert distinct_images(train, sample) == len(sample)
    for path in train.database.paths[1:5].tolist():
        shutil.copy(train.database.paths[0], path)
    assert distinct_images(open_splits(copy)["train"], sample) == len(sample) - 4
    assert distinct_images(open_splits(copy)["train"], sample[4:]) == len(sample) - 4


def test_whitening_needs_more_distinct_images_than_dimensions():
    check_whitening(20, 20, 19)
    check_whitening(20, 16, 15)
    with pytest.raises(ValueError, match="`dim` must be at most 19 for 20 training images: .*dim=20"):
        check_whitening(20, 20, 20)
    with pytest.raises(ValueError, match="`dim` must be at most 15 for 20 .* images, 16 of them distinct: .*dim=16"):
        check_whitening(20, 16, 16)


@pytest.mark.parametrize("rows", [16, 40])
def test_dimension_that_is_too_large_after_all_names_the_command_that_goes_on(rows):
    descriptors = np.random.default_rng(0).normal(size=(16, 32)).astype("float32")
    repeated = np.concatenate([descriptors, descriptors, descriptors])[:rows]
    with pytest.raises(ValueError, match=r"at most 15|between 1 and 15") as caught, late_dimension():
        fit_pca_whitening(repeated, 16)
    assert str(caught.value).endswith("the same command with --resume --dim=15 goes on.")


def model():
    images = keras.Input((None, None, 3))
    frozen = keras.layers.Conv2D(10, 3, trainable=False)(images)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(20, 3)(frozen)))


def test_disk_is_models_whitening_and_checkpoints_with_what_the_optimizer_keeps():
    frozen = 4 * 280
    trained = 4 * 1820
    sgd = disk_needed(model(), PlaceSettings(keep_checkpoints=3), dim=7) - 50e6
    assert sgd == 5 * (frozen + trained) + 2 * 4 * 21 * 7 + 5 * 2 * trained
    adam = disk_needed(model(), PlaceSettings(keep_checkpoints=3, optimizer="adam"), dim=7) - 50e6
    assert adam - sgd == 5 * trained


def test_descriptors_that_fit_the_memory_take_no_disk():
    settings = PlaceSettings(memory_limit=4000)
    assert spilled([(10, 20), (100, 5)], 10, settings) == 0
    assert spilled([(10, 20), (101, 5), (101, 101)], 10, settings) == 2 * 4040


def test_room_is_that_of_the_disk_without_what_a_resumed_run_has_there(tmp_path, monkeypatch):
    run = tmp_path / "runs" / "new"
    store = tmp_path / "store"
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    check_room(run, 600_000, 400_000, store)
    with pytest.raises(OSError, match=r"The disk of .*new' must have 0\.00 GB free for models.* Make room, or name"):
        check_room(run, 600_001, 400_000, store)
    assert not run.exists()
    (run / "checkpoints" / "epoch-0000").mkdir(parents=True)
    (run / "checkpoints" / "epoch-0000" / "weights.npz").write_bytes(bytes(1000))
    (run / "off_the_shelf.keras").write_bytes(bytes(1000))
    (run / "trunk").mkdir()
    (run / "trunk" / "maps.npy").write_bytes(bytes(1000))
    check_room(run, 602_000, 400_000, store)
    with pytest.raises(OSError, match="must have"):
        check_room(run, 602_001, 400_000, store)
