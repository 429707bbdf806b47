import errno
import json
import subprocess
import sys

import pytest

from keras_sare.training import RunFolder
from keras_sare.training.checkpoints.run_folder import orientation_of

SETTINGS = {"epochs": 3, "loss": "sare_independent"}


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.check(SETTINGS, resume=False)
    run.write_settings(SETTINGS)
    return run


def test_settings_are_kept(run):
    assert RunFolder(run.path).settings == SETTINGS


def test_check_writes_nothing(tmp_path):
    RunFolder(tmp_path / "run").check(SETTINGS, resume=True)
    assert not (tmp_path / "run").exists()


def test_resuming_clears_what_a_kill_left_half_written(run):
    (run.path / "trunk").mkdir()
    for folder in (run.path, run.path / "trunk"):
        (folder / ".0a1b2c3d.partial.maps-00000.npy").write_text("half")
    run.write_settings(SETTINGS)
    assert sorted(path.name for path in run.path.iterdir()) == ["run.json", "run.lock", "trunk"]
    # A run that shares the store may be writing there.
    assert [path.name for path in (run.path / "trunk").iterdir()] == [".0a1b2c3d.partial.maps-00000.npy"]


@pytest.mark.parametrize("resume", [False, True], ids=["started", "resumed"])
def test_run_may_be_started_where_one_was_killed_before_its_settings_were_written(tmp_path, resume):
    (tmp_path / ".0a1b2c3d.partial.run.json").write_text("half")
    (tmp_path / "run.lock").touch()
    run = RunFolder(tmp_path)
    run.check(SETTINGS, resume)
    run.write_settings(SETTINGS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "run.lock"]


LOCKS = """
import fcntl, sys
with open(sys.argv[1], "w") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_folder_in_which_another_process_runs_is_refused_until_that_is_killed(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", LOCKS, run.path / "run.lock"]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(RuntimeError, match="Another process runs in .*/run'.* Wait until it ends, or name another"):
            run.write_settings(SETTINGS)
        assert [path.name for path in run.path.iterdir()] == ["run.lock"]
        other.kill()
    run.write_settings(SETTINGS)


def test_folder_is_locked_against_others_and_not_against_its_own_process(run):
    RunFolder(run.path).write_settings(SETTINGS)
    command = [sys.executable, "-c", LOCKS, run.path / "run.lock"]
    other = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert "BlockingIOError" in other.stderr


def test_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", refuse)
    RunFolder(tmp_path).write_settings(SETTINGS)
    assert RunFolder(tmp_path).settings == SETTINGS
    assert f"Cannot lock {tmp_path / 'run.lock'} (No locks available)" in caplog.text


def test_folder_with_files_is_not_overwritten(run):
    with pytest.raises(FileExistsError, match="`output` must be a new or empty folder.*Resume its run or name another"):
        run.check(SETTINGS, resume=False)


def test_folder_that_is_no_run_is_not_resumed(tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(FileExistsError, match="`output` must be the folder of a run to resume.* but no run.json. Name"):
        RunFolder(tmp_path).check(SETTINGS, resume=True)
    with pytest.raises(FileExistsError, match="`output` must be a new or empty folder"):
        RunFolder(tmp_path).check(SETTINGS, resume=False)


def test_run_may_be_resumed_for_more_epochs_but_not_with_another_loss(run):
    run.check({**SETTINGS, "epochs": 9, "checkpoint_every": 50}, resume=True)
    with pytest.raises(ValueError, match="Received: loss: 'sare_independent' before, 'contrastive' now"):
        run.check({**SETTINGS, "loss": "contrastive"}, resume=True)


def test_run_of_an_earlier_version_goes_on_with_pixels_as_stored(run):
    assert orientation_of(SETTINGS) == "stored"
    run.check({**SETTINGS, "orientation": "stored"}, resume=True)
    with pytest.raises(ValueError, match="Received: orientation: 'stored' before, 'upright' now"):
        run.check({**SETTINGS, "orientation": "upright"}, resume=True)


@pytest.mark.parametrize("name", ["gradient_chunk", "jit_compile", "logical_cpus"])
def test_run_is_not_resumed_with_steps_computed_otherwise(run, name):
    with pytest.raises(ValueError, match=f"Received: {name}: None before, 4 now"):
        run.check({**SETTINGS, name: 4}, resume=True)


def checkpoint(run, name, epoch, best_epoch, steps=0):
    """What a checkpoint says of where a run stands."""
    state = {"epoch": epoch, "best_epoch": best_epoch, "running": {"losses": [0.5] * steps}}
    folder = run.path / "checkpoints" / name
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps({"state": state}))


def record(run):
    return json.loads((run.path / "run.json").read_text())


def resume(run, **changed):
    now = {**run.settings, **changed}
    run.check(now, resume=True)
    run.write_settings(now)


def test_what_a_run_is_resumed_with_is_added_to_what_it_was_started_with(tmp_path):
    run = RunFolder(tmp_path)
    start = {"epochs": 9, "learning_rate": 0.1, "dim": 8, "loss": "triplet"}
    run.write_settings(start)
    checkpoint(run, "epoch-0002", 2, 1)
    resume(run)
    assert record(run) == start
    checkpoint(run, "epoch-0002-window-0000-step-000007", 2, 1, steps=7)
    resume(run, learning_rate=0.01)
    resume(run)
    checkpoint(run, "epoch-0009", 9, 5)
    resume(run, dim=4)
    expected = [
        {"epoch": 2, "step": 7, "settings": {"learning_rate": 0.01}},
        {"epoch": 9, "step": 0, "settings": {"dim": 4}},
    ]
    assert run.changes == expected
    assert record(run) == {**start, "changes": expected}
    assert run.settings == {**start, "learning_rate": 0.01, "dim": 4}


def test_change_is_compared_with_the_settings_of_the_last_stretch(tmp_path):
    run = RunFolder(tmp_path)
    run.write_settings({"epochs": 9, "learning_rate": 0.1})
    resume(run, learning_rate=0.01)
    resume(run, learning_rate=0.1)
    assert [change["settings"]["learning_rate"] for change in run.changes] == [0.01, 0.1]


def test_checkpoint_that_is_damaged_is_passed_over(tmp_path):
    run = RunFolder(tmp_path)
    run.write_settings({"epochs": 9, "learning_rate": 0.1})
    checkpoint(run, "epoch-0001", 1, 1)
    checkpoint(run, "epoch-0002", 2, 1)
    (tmp_path / "checkpoints" / "epoch-0002" / "state.json").write_text("half")
    resume(run, learning_rate=0.01)
    assert run.changes[0]["epoch"] == 1


FINISHED = {"epochs": 4, "patience": 3, "learning_rate": 0.1, "dim": 8}


@pytest.fixture(params=["all epochs", "no better epoch"])
def finished(request, tmp_path):
    run = RunFolder(tmp_path)
    epochs = 4 if request.param == "all epochs" else 30
    run.write_settings({**FINISHED, "epochs": epochs})
    checkpoint(run, "epoch-0004", 4, 2 if request.param == "all epochs" else 1)
    return run


@pytest.mark.parametrize(
    "changed",
    [
        {"learning_rate": 0.01},
        {"checkpoint_every": 7},
        {"patience": 1},
        {"learning_rate": 0.01, "dim": 4},
        {"learning_rate": 0.01, "patience": 2},
    ],
    ids=lambda changed: "+".join(changed),
)
def test_change_that_can_have_no_effect_any_more_is_refused(finished, changed):
    before = record(finished)
    with pytest.raises(ValueError, match="The run has trained all of its 4 epochs: .* would have no effect") as info:
        resume(finished, **changed)
    assert "\n" not in str(info.value)
    assert "dim" not in str(info.value)
    assert record(finished) == before


def test_finished_run_may_be_whitened_anew_or_given_more_epochs(finished):
    resume(finished, dim=4, extraction_batch=2)
    resume(finished, epochs=40, patience=20, learning_rate=0.01)
    assert [list(change["settings"]) for change in finished.changes] == [
        ["dim", "extraction_batch"],
        ["epochs", "patience", "learning_rate"],
    ]


def test_run_may_end_sooner_but_not_with_fewer_epochs_than_it_has_trained(tmp_path):
    run = RunFolder(tmp_path)
    run.write_settings({**FINISHED, "epochs": 9})
    checkpoint(run, "epoch-0004", 4, 4)
    with pytest.raises(ValueError, match="`epochs` must be at least 4, those that the run has trained.* epochs=3"):
        resume(run, epochs=3)
    with pytest.raises(ValueError, match="learning_rate would have no effect"):
        resume(run, epochs=4, learning_rate=0.01)
    resume(run, epochs=4)
    assert run.settings["epochs"] == 4


def test_number_of_epochs_may_not_change_where_the_learning_rate_depends_on_it(tmp_path):
    run = RunFolder(tmp_path)
    cosine = {**SETTINGS, "schedule": "cosine"}
    run.write_settings({**cosine, "epochs": 0})
    checkpoint(run, "epoch-0000", 0, 0)
    resume(run, epochs=3)  # No step was trained.
    checkpoint(run, "epoch-0000-window-0000-step-000001", 0, 0, steps=1)
    run.check({**cosine, "patience": 5}, resume=True)
    with pytest.raises(
        ValueError, match="not `epochs`, which the learning rate of .*'cosine' depends on. .* epochs: 3 before, 2 now"
    ):
        run.check({**cosine, "epochs": 2}, resume=True)
    RunFolder(tmp_path / "halving").write_settings({**SETTINGS, "schedule": "halving"})
    RunFolder(tmp_path / "halving").check({**SETTINGS, "schedule": "halving", "epochs": 2}, resume=True)


def test_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no run in .* it has no run.json"):
        _ = RunFolder(tmp_path).settings


def test_unfinished_run_has_no_model(run):
    with pytest.raises(FileNotFoundError, match="has not finished. Resume it"):
        run.load_model()
