import hashlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_sare.extraction.array_cache import ArrayCache, model_digest


def failing():
    raise RuntimeError("killed")


def test_arrays_are_computed_once_and_come_back_as_read_only_memory_maps(tmp_path):
    first = np.arange(6.0).reshape(2, 3)
    second = np.arange(4)
    for compute in (lambda: (first, second), failing):
        a, b = ArrayCache(tmp_path).get_or_compute(["model", 362], compute)
        assert isinstance(a, np.memmap)
        assert not a.flags.writeable
        np.testing.assert_array_equal(a, first)
        np.testing.assert_array_equal(b, second)


def test_a_computation_that_fails_leaves_nothing(tmp_path):
    kept = ArrayCache(tmp_path)
    with pytest.raises(RuntimeError, match="killed"):
        kept.get_or_compute(["model"], failing)
    assert not list(tmp_path.iterdir())


def test_what_a_kill_left_half_written_is_deleted(tmp_path):
    kept = ArrayCache(tmp_path)
    half = kept.folder / ".01234567.partial.0123"
    half.mkdir(parents=True)
    kept.lock()
    assert not half.exists()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a", "b"], ["ab"]),
        (["a", "b"], ["b", "a"]),
        ([1], ["1"]),
        ([None], [0]),
        ([np.zeros((2000, 4))], [np.eye(2000, 4)]),
        ([np.array(["a", "b"], np.dtypes.StringDType())], [np.array(["a", "c"], np.dtypes.StringDType())]),
        ([np.array(["a", "b"])], [np.array(["a"]), np.array(["b"])]),
        ([1 / 3], [np.nextafter(1 / 3, 1).item()]),
    ],
)
def test_different_origins_have_different_places_and_the_same_has_one(tmp_path, one, other):
    kept = ArrayCache(tmp_path)
    assert kept.folder_of(*one) != kept.folder_of(*other)
    assert kept.folder_of(*one) == ArrayCache(tmp_path).folder_of(*one)


def test_arrays_outlive_the_folder(tmp_path):
    kept = ArrayCache(tmp_path / "results")
    kept.lock()
    [array] = kept.get_or_compute(["a"], lambda: [np.arange(5)])
    kept.clear()
    assert not list((tmp_path / "results").iterdir())
    np.testing.assert_array_equal(array, np.arange(5))
    kept.clear()  # of nothing


def test_a_second_process_is_kept_out(tmp_path):
    kept = ArrayCache(tmp_path)
    kept.lock()
    kept.lock()  # The same process may.
    hold = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    command = [sys.executable, "-c", hold, str(kept.folder / "lock")]
    assert b"BlockingIOError" in subprocess.run(command, capture_output=True, check=False).stderr
    kept.clear()
    assert not list(tmp_path.iterdir())

    kept.folder.mkdir()
    (kept.folder / "lock").touch()
    command[2] = hold.replace("open(", "(f := open(").replace("'r+')", "'r+'))") + "; print(1, flush=True); input()"
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        with pytest.raises(RuntimeError, match="Another process runs in"):
            kept.lock()
        other.communicate(b"\n")
    kept.lock()


def test_only_what_was_kept_is_deleted(tmp_path):
    kept = ArrayCache(tmp_path)
    kept.lock()
    kept.get_or_compute(["a"], lambda: [np.arange(5)])
    own = [tmp_path / "descriptors" / "own.npy", kept.folder / "own" / "0.npy", kept.folder / "own.txt"]
    for path in own:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    kept.clear()
    assert all(path.exists() for path in own)
    assert sorted(path.name for path in kept.folder.iterdir()) == ["own", "own.txt"]


def test_digest_of_a_model_is_the_one_under_which_arrays_were_cached_before():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])
    contents = [model.to_json().encode(), *(weight.numpy().tobytes() for weight in model.weights)]
    assert model_digest(model) == hashlib.sha256(b"".join(contents)).hexdigest()


def test_models_differ_by_any_weight_and_any_layer():
    def model(power):
        inputs = keras.Input((2,), name="inputs")
        outputs = keras.layers.Rescaling(power, name="scale")(keras.layers.Dense(2, name="dense")(inputs))
        return keras.Model(inputs, outputs, name="model")

    one = model(1.0)
    other = model(2.0)
    other.set_weights(one.get_weights())
    assert model_digest(one) != model_digest(other)
    same = model(1.0)
    assert model_digest(one) != model_digest(same)
    same.set_weights(one.get_weights())
    assert model_digest(one) == model_digest(same)
    kernel, bias = one.get_weights()
    same.set_weights([kernel, bias + np.float32([0, 1e-7])])
    assert model_digest(one) != model_digest(same)
