import keras
import numpy as np
import pytest

from keras_sare.training.checkpoints import Checkpoints, Progress


def parts(seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="dense")(inputs))
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)
    optimizer.apply([np.ones(v.shape, "float32") for v in model.trainable_variables])
    return model, optimizer, np.full((2, 3), seed)


def test_everything_comes_back(tmp_path):
    saved, fresh = parts(1), parts(2)
    progress = Progress(3, 3, "best", [{"epoch": 3, "loss": 0.1}])
    Checkpoints(tmp_path).save(progress, *saved)
    assert Checkpoints(tmp_path).restore(*fresh) == progress
    for a, b in zip(saved[0].weights + saved[1].variables, fresh[0].weights + fresh[1].variables, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(fresh[2], saved[2])


def test_empty_folder_has_nothing_to_restore(tmp_path):
    assert Checkpoints(tmp_path).restore(*parts()) is None


def test_only_the_last_and_the_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for epoch, best in enumerate([0, 1, 1, 1, 4, 4]):
        checkpoints.save(Progress(epoch, best), *parts(epoch))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["epoch-0004", "epoch-0005"]
    model = parts(0)[0]
    checkpoints.load_best(model, Progress(5, 4))
    np.testing.assert_array_equal(model.weights[0], parts(4)[0].weights[0])


def test_crash_while_writing_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(Progress(1, 1), *parts(1))
    monkeypatch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(OSError("No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(Progress(2, 2), *parts(2))
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-0001"]
    assert checkpoints.restore(*parts()).epoch == 1
