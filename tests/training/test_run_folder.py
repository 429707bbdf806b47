import pytest

from keras_sare.training import RunFolder

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
    (run.path / "trunk" / ".0a1b2c3d.partial.trunk.npy").write_text("half")
    run.write_settings(SETTINGS)
    assert list((run.path / "trunk").iterdir()) == []


def test_folder_with_files_is_not_overwritten(run):
    with pytest.raises(FileExistsError, match="`output` must be a new or empty folder.*Add --resume or name another"):
        run.check(SETTINGS, resume=False)


def test_folder_that_is_no_run_is_not_resumed(tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(FileExistsError, match="`output` must be"):
        RunFolder(tmp_path).check(SETTINGS, resume=True)


def test_run_may_be_resumed_for_more_epochs_but_not_with_another_loss(run):
    run.check({**SETTINGS, "epochs": 9, "checkpoint_every": 50, "gradient_chunk": 4}, resume=True)
    with pytest.raises(ValueError, match="Received: loss: 'sare_independent' before, 'contrastive' now"):
        run.check({**SETTINGS, "loss": "contrastive"}, resume=True)


def test_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no run in .* it has no run.json"):
        _ = RunFolder(tmp_path).settings


def test_unfinished_run_has_no_model(run):
    with pytest.raises(FileNotFoundError, match="has not finished. Continue it with --resume"):
        run.load_model()
