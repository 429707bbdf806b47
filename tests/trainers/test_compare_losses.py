import csv
import json
import re
import signal
import subprocess
import sys
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from keras_sare.evaluation import RecallReport
from trainers import compare_losses
from trainers.config import CompareConfig
from trainers.stages import compared_runs


def finish(run, after, traversals=True):
    """Writes what a finished run leaves behind."""
    run.mkdir(parents=True, exist_ok=True)
    for stem in ("recall", "recall_other_passes")[: 1 + traversals]:
        reports = [RecallReport(stem, "town", 40, 0, 80, (1, 5, 10), (r, r + 0.1, r + 0.2)) for r in (0.4, after)]
        named = dict(zip(("off the shelf", "trained"), map(asdict, reports), strict=True))
        (run / f"{stem}.json").write_text(json.dumps(named))
    for epoch in (0, 7, 12):
        folder = run / "checkpoints" / f"epoch-{epoch:04d}"
        folder.mkdir(parents=True)
        (folder / "state.json").write_text(json.dumps({"state": {"epoch": epoch, "best_epoch": min(epoch, 7)}}))
    (run / "model.keras").touch()
    (run / "matches.png").touch()


@pytest.fixture
def output(tmp_path):
    return tmp_path / "compare"


@pytest.fixture
def compare(output, monkeypatch):
    """Starts the program with trainers that do what `train` does, and returns the commands that they were given."""
    handler = signal.getsignal(signal.SIGTERM)

    def compare(*passed_on, train=lambda run: finish(run, 0.5), **changed):
        options = {
            "root": str(output.parent),
            "output": str(output),
            "losses": ["triplet", "contrastive"],
            "seeds": ["0", "1"],
        }
        commands = []

        def run(command, stdout, stderr, check):
            commands.append(command)
            stdout.write("".join(f"line {i}\n" for i in range(100)))
            train(output / next(arg for arg in command if arg.startswith("--output=")).rsplit("/", 1)[1])

        monkeypatch.setattr(compared_runs, "draw_comparison", lambda path, runs: path.write_text(str(len(runs))))
        monkeypatch.setattr(compared_runs, "subprocess", SimpleNamespace(run=run))
        compare_losses.run(CompareConfig(**{**options, **changed}, passed_on=passed_on))
        return commands

    yield compare
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.slow
def test_a_real_run_is_trained_and_read(town, weights, output):
    command = [sys.executable, "-m", "trainers.compare_losses", f"--root={town}", f"--output={output}"]
    command += ["--losses=triplet", "--seeds=3", "--", f"--weights={weights}", "--preprocessing=torch", "--epochs=1"]
    command += ["--image_size=32,48", "--clusters=4", "--dim=8", "--negatives=2", "--patience=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    [before, after, whitened] = csv.DictReader((output / "compare.csv").read_text().splitlines())
    expected = json.loads((output / "triplet-seed3" / "recall.json").read_text())
    assert [one["model"] for one in (before, after, whitened)] == list(expected)
    assert float(after["recall@1"]) == expected[after["model"]]["recalls"][0]
    assert after["epochs"] == "1"
    assert after["best epoch"] in ("0", "1")
    assert float(after["minutes"]) > 0
    assert (output / "compare.png").stat().st_size > 1000
    assert list((output / "store").iterdir())


def named(commands):
    return [command[-2].rsplit("/", 1)[1] for command in commands]


def test_every_loss_is_trained_with_every_seed_on_one_store(compare, output):
    commands = compare("--epochs=5")
    assert named(commands) == ["triplet-seed0", "contrastive-seed0", "triplet-seed1", "contrastive-seed1"]
    assert commands[2][1:] == [
        *("-m", "trainers.pitts", f"--store={output / 'store'}", f"--root={output.parent}", "--epochs=5"),
        *("--loss=triplet", "--seed=1", f"--output={output / 'triplet-seed1'}", "--resume"),
    ]


def test_table_csv_and_picture_tell_what_each_run_gained(compare, output, capsys):
    recalls = iter([0.5, 0.45, 0.6, 0.55])
    compare(train=lambda run: finish(run, next(recalls)))
    table = (output / "compare.md").read_text()
    assert table == capsys.readouterr().out
    assert "| triplet | trained | 2 | 0.550 ± 0.071 | 0.650 ± 0.071 | 0.750 ± 0.071 | +15.0 ± 7.1 |" in table
    assert "town, recall_other_passes; 40 queries, 80 images" in table
    rows = list(csv.DictReader((output / "compare.csv").read_text().splitlines()))
    assert [row["recall@1"] for row in rows if row["model"] == "trained"] == ["0.5", "0.45", "0.6", "0.55"]
    assert {(row["epochs"], row["best epoch"]) for row in rows} == {("12", "7")}
    assert all(0 <= float(row["minutes"]) < 1 for row in rows)
    assert (output / "compare.png").read_text() == "4"


def test_runs_without_traversals_are_compared_too(compare, output):
    compare(train=lambda run: finish(run, 0.5, traversals=False))
    assert "other traversals" not in (output / "compare.md").read_text()


def test_finished_runs_are_skipped_and_unfinished_ones_go_on(compare, output):
    finish(output / "triplet-seed0", 0.5)
    finish(output / "triplet-seed1", 0.5)
    (output / "triplet-seed1" / "matches.png").unlink()
    (output / "triplet-seed1.seconds").write_text("600.0\n")
    commands = compare(train=lambda run: (run / "matches.png").touch() if run.exists() else finish(run, 0.5))
    assert named(commands) == ["contrastive-seed0", "triplet-seed1", "contrastive-seed1"]
    minutes = [row["minutes"] for row in csv.DictReader((output / "compare.csv").read_text().splitlines())]
    assert minutes[0] == ""  # nobody took the time
    assert 10 <= float(minutes[4]) < 11


def test_a_run_that_fails_is_named_with_its_log_and_the_others_still_run(compare, output):
    def train(run):
        if run.name != "triplet-seed1":
            finish(run, 0.5)

    ending = re.escape(f"{output}/triplet-seed1 failed; {output}/triplet-seed1.log ends with:\n    line 85\n")
    with pytest.raises(SystemExit, match=ending + r"(?s:.*)line 99\n\n1 of 4 runs failed"):
        compare(train=train)
    assert "| triplet | trained | 1 |" in (output / "compare.md").read_text()
    assert "| contrastive | trained | 2 |" in (output / "compare.md").read_text()
    assert named(compare()) == ["triplet-seed1"]
    assert "| triplet | trained | 2 |" in (output / "compare.md").read_text()


def test_where_every_run_fails_there_is_no_table(compare, output):
    def fail(run):
        run.mkdir()
        (run / "run.json").touch()

    with pytest.raises(SystemExit, match="4 of 4 runs failed"):
        compare(train=fail)
    assert not (output / "compare.md").exists()


def test_where_the_first_run_is_refused_no_other_is_tried_and_nothing_is_left(compare, output):
    with pytest.raises(ValueError, match="The first run, triplet-seed0, did not start, and no other would: line 99"):
        compare(train=lambda run: None)
    assert not output.exists()
    assert len(compare()) == 4


def test_time_and_tables_are_kept_when_the_program_is_stopped(compare, output):
    def interrupted(run):
        signal.raise_signal(signal.SIGTERM)

    finish(output / "triplet-seed0", 0.5)
    with pytest.raises(SystemExit, match="The same command goes on"):
        compare(train=interrupted)
    assert float((output / "contrastive-seed0.seconds").read_text()) >= 0
    assert "| triplet | trained | 1 |" in (output / "compare.md").read_text()


def test_a_time_that_cannot_be_read_or_kept_does_not_end_the_comparison(compare, output, caplog):
    finish(output / "triplet-seed0", 0.5)
    (output / "triplet-seed0.seconds").write_text("6.")
    (output / "triplet-seed1.seconds").write_text("")
    (output / "contrastive-seed0.seconds").mkdir()
    (output / "contrastive-seed0.seconds" / "full").touch()
    compare()
    minutes = [row["minutes"] for row in csv.DictReader((output / "compare.csv").read_text().splitlines())]
    assert [minutes[i] for i in (0, 2)] == ["0.1", ""]
    assert all(0 <= float(minutes[i]) < 1 for i in (4, 6))
    assert "The time that" in caplog.text
    assert "contrastive-seed0 took is not kept" in caplog.text


def test_losses_and_seeds_may_be_added_later(compare):
    compare()
    assert named(compare(losses=["info_nce", "triplet"])) == ["info_nce-seed0", "info_nce-seed1"]


def test_runs_with_other_flags_do_not_come_into_the_same_table(compare):
    compare("--epochs=5")
    with pytest.raises(ValueError, match=r"`output` must be a new folder.*--epochs=5.*Received: .*--epochs=6"):
        compare("--epochs=6")
