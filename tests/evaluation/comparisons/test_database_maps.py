import keras
import numpy as np
import pytest
from PIL import Image

from keras_sare.evaluation import ComparisonSettings
from keras_sare.evaluation.comparisons.database_maps import DatabaseMaps, check_room, database_maps, map_bytes
from keras_sare.extraction.array_cache import ArrayCache
from keras_sare.layers import MAC


@pytest.fixture
def model():
    images = keras.Input((None, None, 3))
    return keras.Model(images, MAC()(keras.layers.Conv2D(5, 8, strides=8, padding="same", activation="relu")(images)))


@pytest.fixture
def paths(tmp_path):
    sizes = [(64, 48), (30, 100), (64, 48), (200, 40)]
    for i, size in enumerate(sizes):
        Image.new("RGB", size, (9 * i, 99, 9)).save(tmp_path / f"{i}.png")
    return np.array([str(tmp_path / f"{i}.png") for i in range(len(sizes))], np.dtypes.StringDType())


def test_room_that_is_asked_for_is_what_the_maps_take(model, paths, tmp_path):
    kept = ArrayCache(tmp_path)
    settings = ComparisonSettings(longer_side=80)
    maps = database_maps(kept, model, paths, np.array([1, 3]), 300.0, settings)
    [file] = kept.folder.glob("*/maps.bin")
    assert file.stat().st_size == map_bytes(model, paths[[1, 3]], 80) == 5 * (10 * 3 + 2 * 10)
    assert (len(maps), maps[3].shape) == (4, (2, 10, 5))


def test_room_is_checked_to_the_byte(model, paths, tmp_path, monkeypatch):
    needed = map_bytes(model, paths, 80)
    for free in (needed, needed - 1):
        monkeypatch.setattr("keras_sare.evaluation.comparisons.database_maps.free_bytes", lambda _, free=free: free)
        if free == needed:
            check_room(ArrayCache(tmp_path), model, paths, ComparisonSettings(longer_side=80))
        else:
            with pytest.raises(OSError, match="Received: rerank=1000, longer_side=80"):
                check_room(ArrayCache(tmp_path), model, paths, ComparisonSettings(longer_side=80))


def test_images_without_a_map_have_none():
    maps = DatabaseMaps([np.zeros((1, 2, 3))], np.array([7]), 9)
    assert maps[np.int64(7)].shape == (1, 2, 3)
    with pytest.raises(KeyError):
        maps[0]
