import errno
import json
import resource
import shutil
from contextlib import contextmanager

import keras
import numpy as np
import pytest

from keras_sare.training.checkpoints.checkpoints import Checkpoints
from keras_sare.training.checkpoints.run_state import EpochState, RunState

MIDDLE = RunState(3, 2, "best", 7, [{"epoch": 3, "loss": 0.1}], EpochState(1, np.arange(12).reshape(3, 4), 2, [0.1], 5))


def make_model(seed=0, frozen=(), frozen_value=0.5):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((3,))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(4, name="first")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, name="last")(keras.layers.Dropout(0.5, name="drop")(x)))
    for name in frozen:
        layer = model.get_layer(name)
        layer.trainable = False
        layer.set_weights([np.full(w.shape, frozen_value, "float32") for w in layer.weights])
    return model


class Run:
    """What a checkpoint is made of."""

    def __init__(self, folder, seed=0, scaled=False, **settings):
        self.model = settings.pop("model", None) or make_model(seed)
        self.optimizer = keras.optimizers.SGD(0.1 * (1 + seed), momentum=0.9)
        if scaled:
            self.optimizer = keras.optimizers.LossScaleOptimizer(self.optimizer, initial_scale=2.0**seed)
        self.optimizer.build(self.model.trainable_variables)
        self.optimizer.apply([np.full(v.shape, seed, "float32") for v in self.model.trainable_variables])
        self.model(np.ones((2, 3)), training=True)  # moves the statistics, and the dropout's random state
        self.negatives = np.full((2, 3), seed)
        self.checkpoints = Checkpoints(folder, self.model, self.optimizer, self, **settings)

    def state_dict(self):
        return {"remembered": self.negatives}

    def load_state_dict(self, state):
        self.negatives[:] = state["remembered"]

    def arrays(self):
        variables = [keras.ops.convert_to_numpy(v) for v in (*self.model.variables, *self.optimizer.variables)]
        return [*variables, self.negatives]


def assert_same(a, b):
    for x, y in zip(a.arrays(), b.arrays(), strict=True):
        np.testing.assert_array_equal(x, y)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "with a scaled loss"])
def test_everything_comes_back(tmp_path, scaled):
    saved = Run(tmp_path, 1, scaled)
    fresh = Run(tmp_path, 2, scaled)
    saved.checkpoints.save(MIDDLE)
    restored = fresh.checkpoints.restore()
    assert_same(saved, fresh)
    np.testing.assert_array_equal(restored.running.tuples, MIDDLE.running.tuples)
    restored.running.tuples = MIDDLE.running.tuples
    assert restored == MIDDLE
    assert names(tmp_path) == ["epoch-0003-window-0001-step-000002"]


def test_state_between_epochs_has_no_tuples(tmp_path):
    Run(tmp_path, 1).checkpoints.save(RunState(3, 3))
    assert Run(tmp_path).checkpoints.restore() == RunState(3, 3)
    assert names(tmp_path) == ["epoch-0003"]


def test_empty_folder_has_nothing_to_restore(tmp_path):
    assert Run(tmp_path).checkpoints.restore() is None


def test_the_last_few_and_the_best_are_kept(tmp_path):
    for epoch, best in enumerate([0, 1, 1, 1, 4, 4, 4]):
        Run(tmp_path, epoch, keep=2).checkpoints.save(RunState(epoch, best))
        Run(tmp_path, epoch, keep=2).checkpoints.save(
            RunState(epoch, best, running=EpochState(tuples=np.zeros((1, 3))))
        )
    assert names(tmp_path) == ["epoch-0004", "epoch-0006", "epoch-0006-window-0000-step-000000"]
    run = Run(tmp_path, 0)
    run.checkpoints.load_best(RunState(6, 4))
    np.testing.assert_array_equal(run.model.weights[0], Run(tmp_path, 4).model.weights[0])


def test_later_windows_and_steps_count_as_later(tmp_path):
    run = Run(tmp_path, keep=1)
    run.checkpoints.save(RunState(1, 1))
    for window, step in [(0, 0), (0, 9), (0, 10), (1, 0), (2, 3), (10, 0)]:
        run.checkpoints.save(RunState(1, 1, running=EpochState(window, np.zeros((1, 3)), step)))
        assert run.checkpoints.restore().running.window == window
    run.checkpoints.save(RunState(2, 1))
    assert run.checkpoints.restore() == RunState(2, 1)
    assert names(tmp_path) == ["epoch-0001", "epoch-0002"]


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda folder: cut(folder / "weights.npz"), id="cut short"),
        pytest.param(lambda folder: flip(folder / "optimizer.npz"), id="one bit flipped"),
        pytest.param(lambda folder: (folder / "mining.npz").unlink(), id="file missing"),
        pytest.param(lambda folder: (folder / "state.json").write_text(""), id="file empty"),
        pytest.param(lambda folder: (folder / "checksums.json").write_text("{"), id="checksums cut short"),
        pytest.param(lambda folder: [path.unlink() for path in folder.iterdir()], id="nothing in it"),
    ],
)
def test_damaged_checkpoint_is_passed_over_for_the_one_before_with_a_warning(tmp_path, caplog, damage):
    before = Run(tmp_path, 1)
    last = Run(tmp_path, 2)
    fresh = Run(tmp_path, 3)
    before.checkpoints.save(RunState(1, 1))
    last.checkpoints.save(RunState(2, 1))
    damage(tmp_path / "epoch-0002")
    assert fresh.checkpoints.restore() == RunState(1, 1)
    assert_same(fresh, before)
    assert f"Checkpoint {tmp_path / 'epoch-0002'} is damaged" in caplog.text

    last.checkpoints.save(MIDDLE_OF_SECOND)  # what was passed over takes no whole checkpoint's place
    assert names(tmp_path) == ["epoch-0001", "epoch-0001-window-0000-step-000001"]
    last.checkpoints.save(RunState(2, 2))
    assert Run(tmp_path).checkpoints.restore() == RunState(2, 2)


MIDDLE_OF_SECOND = RunState(1, 1, running=EpochState(0, np.zeros((1, 3)), 1))


def test_run_is_not_begun_anew_where_all_checkpoints_are_damaged(tmp_path):
    run = Run(tmp_path)
    run.checkpoints.save(RunState(0))
    cut(tmp_path / "epoch-0000" / "weights.npz")
    with pytest.raises(ValueError, match="No checkpoint in .* is whole. Remove that folder .* Received: epoch-0000"):
        run.checkpoints.restore()
    with pytest.raises(ValueError, match="best epoch's checkpoint, .* is damaged .*: its weights are lost"):
        run.checkpoints.load_best(RunState(0))


def test_weights_that_are_not_trained_are_left_out_and_must_be_the_same_again(tmp_path):
    trunk = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    saved = Run(tmp_path, model=make_model(1, ["first"]), frozen=trunk)
    saved.checkpoints.save(RunState(1))
    with np.load(tmp_path / "epoch-0001" / "weights.npz") as weights:
        shapes = [array.shape for array in weights.values()]
    assert (3, 4) not in shapes
    assert len(shapes) == len(saved.model.variables) - 2
    fresh = Run(tmp_path, model=make_model(2, ["first"]), frozen=trunk)
    fresh.checkpoints.restore()
    assert_same(saved, fresh)
    other = Run(tmp_path, model=make_model(2, ["first"], frozen_value=0.6), frozen=trunk)
    with pytest.raises(ValueError, match="other weights in the layers that are not trained"):
        other.checkpoints.restore()
    trunk.layers[0].bias.assign_add(np.ones(3))
    with pytest.raises(ValueError, match="other weights in the layers that are not trained"):
        Run(tmp_path, model=make_model(2, ["first"]), frozen=trunk).checkpoints.restore()


def test_checkpoint_on_other_datasets_is_refused_before_anything_is_loaded(tmp_path):
    Run(tmp_path, 1, datasets={"train": "12 images", "validation": "8 images"}).checkpoints.save(RunState(1))
    other = Run(tmp_path, 2, datasets={"train": "11 images", "validation": "8 images"})
    other.negatives = np.zeros((1, 3))  # Of another number of queries.
    before = other.arrays()
    with pytest.raises(
        ValueError,
        match="epoch-0001' was written on other datasets.* Repair or put back what is missing.* or start a new one. "
        "Received: train: 12 images before, 11 images now$",
    ):
        other.checkpoints.restore()
    for a, b in zip(before, other.arrays(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_checkpoint_of_another_model_is_refused(tmp_path):
    Run(tmp_path).checkpoints.save(RunState(1))
    inputs = keras.Input((3,))
    other = keras.Model(inputs, keras.layers.Dropout(0.1)(keras.layers.Dense(5)(inputs)))
    with pytest.raises(ValueError, match=r"'.*epoch-0001' belongs to another model.*Received: .*\(3, 4\)"):
        Run(tmp_path, model=other).checkpoints.restore()


@pytest.mark.parametrize("form", [1, 2, 4])
def test_checkpoint_of_another_format_is_refused(tmp_path, form):
    run = Run(tmp_path)
    run.checkpoints.save(RunState(1))
    folder = tmp_path / "epoch-0001"
    if form == 1:
        (folder / "progress.json").write_text("{}")
    else:
        state = json.loads((folder / "state.json").read_text())
        (folder / "state.json").write_text(json.dumps(state | {"format": form}))
        checksums = json.loads((folder / "checksums.json").read_text())
        del checksums["state.json"]
        (folder / "checksums.json").write_text(json.dumps(checksums))
    with pytest.raises(ValueError, match=f"epoch-0001 has format {form}; this version of keras_sare reads format 3"):
        run.checkpoints.restore()


def test_only_the_process_that_writes_writes(tmp_path):
    Run(tmp_path / "run", writes=False).checkpoints.save(RunState(1))
    assert not (tmp_path / "run").exists()


@contextmanager
def largest_file(size):
    """The kernel refuses to write larger files, as it refuses to write any where the disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [10, 1000], ids=["at once", "within a file"])
def test_full_disk_says_what_is_needed_and_leaves_the_earlier_checkpoint(tmp_path, size):
    run = Run(tmp_path, 1)
    run.checkpoints.save(RunState(1, 1))
    with (
        largest_file(size),
        pytest.raises(
            OSError, match="Cannot write checkpoint epoch-0002 in .*: File too large. It needs 0.0 MB"
        ) as info,
    ):
        run.checkpoints.save(RunState(2, 2))
    assert info.value.errno == errno.EFBIG
    assert "MB are free there. The last checkpoint, epoch-0001, is whole: make room and resume" in str(info.value)
    assert names(tmp_path) == ["epoch-0001"]
    assert Run(tmp_path).checkpoints.restore() == RunState(1, 1)


def test_full_disk_at_the_first_checkpoint_is_told_of_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    run = Run(tmp_path / "run" / "checkpoints")
    monkeypatch.setattr("keras_sare.training.checkpoints.checkpoints.write_checked", refuse)
    with pytest.raises(
        OSError,
        match="Cannot write checkpoint epoch-0000 .*No space left.* MB are free there. There is no checkpoint yet",
    ) as info:
        run.checkpoints.save(RunState())
    assert info.value.errno == errno.ENOSPC
    assert not (tmp_path / "run").exists()


def test_damaged_folder_of_the_same_name_is_replaced(tmp_path):
    run = Run(tmp_path)
    run.checkpoints.save(RunState(1))
    shutil.copytree(tmp_path / "epoch-0001", tmp_path / "epoch-0002")
    cut(tmp_path / "epoch-0002" / "state.json")
    run.checkpoints.save(RunState(2))
    assert run.checkpoints.restore() == RunState(2)
