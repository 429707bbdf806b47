import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sare.extraction import ImageInputs
from keras_sare.extraction.cropped_inputs import CroppedImageInputs
from keras_sare.layers import ImagePreprocessing
from keras_sare.models import split
from keras_sare.training import FeatureStore
from keras_sare.training.feature_store.frozen_trunk import FrozenTrunk

ROW_BYTES = 10 * 14 * 8 * 2
"""Of what `make_model`'s first convolution makes of 12 x 16 pixels, in float16."""


@pytest.fixture
def images(make_places):
    return make_places("train", 5, seed=0).inputs


@pytest.fixture
def trunk(make_model):
    return split(make_model(initialise=False), "conv2")[0]


@pytest.fixture
def make_store(tmp_path, trunk, images):
    def make(dtype="float16", images=images, trunk=trunk, rows=3, batch_size=2, strategy=None):
        frozen = FrozenTrunk(trunk, dtype, strategy)
        return FeatureStore(tmp_path / "store", frozen, images, batch_size, rows * ROW_BYTES)

    return make


@pytest.fixture
def maps(trunk, images):
    pixels = images.gather(tf.range(len(images.paths)))
    return trunk(pixels).numpy()


def fill(store):
    fill_files(store, np.flatnonzero(~store.files.scan()))
    return store


def fill_files(store, files):
    return list(store.fill(files))


def key(store):
    return store.files.folder.name


def names(store):
    return [store.files.path(file).name for file in range(len(store.files.sizes))]


def touch(path):
    status = os.stat(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


@pytest.mark.parametrize(
    ("dtype", "relative", "absolute"), [("float32", 1e-6, 1e-7), ("float16", 2**-11, 2**-25), ("bfloat16", 2**-8, 0)]
)
def test_rows_are_the_trunks_output_rounded_once(make_store, maps, dtype, relative, absolute):
    store = fill(make_store(dtype))
    ids = np.array([7, 0, 9, 3])
    rows = store[ids]
    assert store.shape == maps.shape
    assert rows.dtype == store.dtype == tf.as_dtype(dtype).as_numpy_dtype
    np.testing.assert_allclose(rows.astype("float32"), maps[ids], relative, absolute)


@pytest.mark.parametrize("rows", [1, 3, 4, 100])
def test_files_hold_the_same_whatever_their_size(make_store, maps, rows):
    store = fill(make_store(rows=rows))
    assert len(store.files.sizes) == -(-10 // rows)
    np.testing.assert_array_equal(store[np.arange(10)], maps.astype("float16"))


def test_filling_tells_how_many_images_were_computed(make_store):
    assert fill_files(make_store(batch_size=4), np.array([0, 1, 3])) == [4, 3]


def test_replicas_share_what_is_stored(make_store, make_model, maps):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    trunk = split(make_model(strategy, initialise=False), "conv2")[0]
    store = make_store("float32", trunk=trunk, strategy=strategy, batch_size=3)
    assert store.trunk.shared is not store.trunk.forward
    np.testing.assert_allclose(fill(store)[np.arange(10)], maps, rtol=1e-6, atol=1e-7)


def test_missing_rows_are_computed_when_asked_for_and_equal_the_stored_ones(make_store):
    store = make_store()
    ids = np.array([9, 0, 4, 5, 0, 8])
    fill_files(store, np.array([1]))
    computed = store[ids]
    np.testing.assert_array_equal(computed, fill(store)[ids])


def test_missing_rows_are_computed_in_small_batches(make_store, monkeypatch):
    store = make_store(batch_size=4)
    sizes = []
    compute = store.compute
    monkeypatch.setattr(store, "compute", lambda ids, *rest: sizes.append(len(ids)) or compute(ids, *rest))
    store[np.arange(10)]
    assert sizes == [4, 4, 2]


def test_second_opening_computes_nothing(make_store, monkeypatch):
    rows = fill(make_store())[np.arange(10)]
    again = make_store()
    assert again.files.present.all()
    monkeypatch.setattr(again, "compute", None)  # would fail if called
    np.testing.assert_array_equal(again[np.arange(10)], rows)


def test_after_a_kill_between_files_only_the_missing_ones_are_computed(make_store, monkeypatch, maps):
    class Killed(BaseException):
        pass

    broken = make_store()
    write = broken.files.write

    def killed_at_the_third(file, values):
        if file == 2:
            raise Killed
        write(file, values)

    monkeypatch.setattr(broken.files, "write", killed_at_the_third)
    with pytest.raises(Killed):
        fill(broken)
    resumed = make_store()
    computed = []
    assert resumed.files.present.tolist() == [True, True, False, False]
    compute = resumed.compute
    monkeypatch.setattr(resumed, "compute", lambda ids, *rest: computed.extend(ids) or compute(ids, *rest))
    fill(resumed)
    assert computed == [6, 7, 8, 9]
    np.testing.assert_array_equal(resumed[np.arange(10)], maps.astype("float16"))


def test_key_is_the_same_for_another_model_of_the_same_weights_and_for_one_loaded_from_a_file(
    make_store, make_model, tmp_path
):
    first = key(make_store())
    model = make_model(initialise=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    model.trainable = False
    for one in (model, loaded):
        assert key(make_store(trunk=split(one, "conv2")[0])) == first


def test_key_does_not_depend_on_the_layers_names(make_store, images):
    def network():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((None, None, 3))
        hidden = keras.layers.Conv2D(2, 1)(inputs)
        return keras.Model(inputs, keras.layers.Add()([hidden, keras.layers.ReLU()(hidden)]))

    assert key(make_store(trunk=network())) == key(make_store(trunk=network()))


def test_key_changes_with_the_weights(make_store, trunk):
    before = key(make_store())
    trunk.get_layer("conv1").bias.assign_add(np.full(8, 1e-6))
    assert key(make_store()) != before


def test_key_changes_with_the_layer_where_the_model_is_cut(make_store, make_model):
    model = make_model(initialise=False)
    model.get_layer("conv2").kernel.assign(np.zeros((3, 3, 8, 8)))
    before_relu = keras.Model(model.input, keras.layers.ReLU()(model.get_layer("conv1").output))
    assert key(make_store(trunk=before_relu)) != key(make_store(trunk=split(model, "conv2")[0]))


def test_key_changes_with_the_preprocessing(make_store):
    def trunk_with(**arguments):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((None, None, 3))
        return keras.Model(
            inputs, keras.layers.Conv2D(2, 1)(ImagePreprocessing((1, 2, 3), (1, 1, 1), **arguments)(inputs))
        )

    assert key(make_store(trunk=trunk_with())) == key(make_store(trunk=trunk_with()))
    assert key(make_store(trunk=trunk_with(bgr=True))) != key(make_store(trunk=trunk_with()))


def test_key_changes_with_the_precision_of_the_computation(make_store):
    def trunk_in(dtype):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((None, None, 3))
        return keras.Model(inputs, keras.layers.Conv2D(2, 1, dtype=dtype)(inputs))

    assert key(make_store(trunk=trunk_in("mixed_bfloat16"))) != key(make_store(trunk=trunk_in("float32")))


def test_key_changes_with_size_orientation_dtype_and_layout(make_store, images):
    stores = [
        make_store(),
        make_store(images=ImageInputs(images.paths, (16, 12))),
        make_store(images=ImageInputs(images.paths, (12, 16), "stored")),
        make_store(images=CroppedImageInputs(images.paths, np.full((10, 2), 20), (12, 16), 20, "stored")),
        make_store(images=CroppedImageInputs(images.paths, np.full((10, 2), 20), (12, 16), 20)),
        make_store(images=CroppedImageInputs(images.paths, np.full((10, 2), 20), (12, 16), 24)),
        make_store("bfloat16"),
        make_store("float32"),
        make_store(rows=4),
    ]
    assert len({key(store) for store in stores}) == len(stores)


def test_names_of_the_files_tell_their_images_and_the_state_of_these(make_store, images):
    before = names(make_store())
    assert len(set(before)) == 4
    assert not set(names(make_store(images=ImageInputs(images.paths[::-1], images.size)))) & set(before)
    assert names(make_store(images=ImageInputs(images.paths[:-2], images.size)))[:2] == before[:2]
    status = os.stat(images.paths[0])
    touch(images.paths[0])
    touched = names(make_store())
    assert touched[0] != before[0]
    assert touched[1:] == before[1:]
    Image.new("RGB", (5, 5)).save(images.paths[0])
    os.utime(images.paths[0], ns=(status.st_atime_ns, status.st_mtime_ns))
    assert names(make_store())[0] not in (before[0], touched[0])


def test_names_do_not_depend_on_the_working_directory(make_store, images, monkeypatch):
    before = names(make_store())
    monkeypatch.chdir(os.path.dirname(images.paths[0]))
    relative = np.array([os.path.basename(path) for path in images.paths])
    assert names(make_store(images=ImageInputs(relative, images.size))) == before


def test_where_an_image_is_replaced_its_file_alone_is_computed_anew(make_store, images, monkeypatch, trunk):
    outdated = names(fill(make_store()))[1]
    Image.new("RGB", (16, 12), "red").save(images.paths[4])
    store = make_store()
    computed = []
    assert store.files.present.tolist() == [True, False, True, True]
    compute = store.compute
    monkeypatch.setattr(store, "compute", lambda ids, *rest: computed.extend(ids) or compute(ids, *rest))
    fill(store)
    assert computed == [3, 4, 5]
    left = sorted(path.name for path in store.files.folder.iterdir())
    assert left == sorted(names(store))
    assert outdated not in left
    expected = trunk(images.gather(tf.constant([4]))).numpy().astype("float16")
    np.testing.assert_array_equal(store[np.array([4])], expected)


def test_datasets_share_the_folder_of_a_model(make_store, make_places):
    first = fill(make_store())
    rows = first[np.arange(10)]
    second = fill(make_store(images=make_places("val", 4, seed=1).inputs))
    assert key(second) == key(first)
    np.testing.assert_array_equal(make_store()[np.arange(10)], rows)
    assert not (second[np.arange(8)] == rows[:8]).all()


def test_other_stores_in_the_folder_are_left_alone(make_store, tmp_path):
    fill(make_store())
    fill(make_store("bfloat16"))
    assert len(list((tmp_path / "store").glob("trunk-*/maps-*.npy"))) == 8
    assert make_store().files.present.all()


@pytest.mark.parametrize("stored", [True, False])
def test_maps_too_large_for_float16_name_the_image_and_the_way_out(make_store, trunk, images, stored):
    trunk.get_layer("conv1").kernel.assign(np.full((3, 3, 3, 8), 1e6))
    for i, path in enumerate(images.paths):
        Image.new("RGB", (16, 12), "white" if i == 4 else "black").save(path)
    store = make_store()
    with pytest.raises(ValueError, match=r"train_database_4.jpg is not finite in float16. .*bfloat16.*budget of 0"):
        fill(store) if stored else store[np.arange(10)]
    assert store.files.scan().tolist() == [stored, False, False, False]
    assert fill(make_store("bfloat16")).files.present.all()


def test_weights_that_are_no_numbers_are_told(make_store, trunk):
    trunk.get_layer("conv1").bias.assign(np.full(8, np.inf))
    with pytest.raises(ValueError, match="train_database_0.jpg is not finite in float32. The weights of these layers"):
        fill(make_store("float32"))


def test_unknown_dtype_is_refused(make_store):
    with pytest.raises(ValueError, match="`dtype` must be one of float16, bfloat16, float32. Received: dtype='int8'"):
        make_store("int8")
