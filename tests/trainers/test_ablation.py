import csv
import json
import os
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from keras_sare.evaluation.comparisons.grid_runs import OFF_THE_SHELF
from trainers import ablation
from trainers.config import AblationConfig
from trainers.config.flags import parse
from trainers.stages.ablation import checks, rounds, runs
from trainers.stages.ablation.grid import read_grid
from trainers.stages.ablation.measured_sets import MeasuredSet, read_sets

LOSSES = ("--grid=loss=triplet,contrastive",)
QUERIES = 60


def finish(run, share=0.6):
    """Writes what a finished run leaves behind; `share` of its queries are found."""
    run.mkdir(parents=True, exist_ok=True)
    for epoch in (0, 7, 12):
        folder = run / "checkpoints" / f"epoch-{epoch:04d}"
        folder.mkdir(parents=True)
        state = {"epoch": epoch, "best_epoch": min(epoch, 7), "history": [{"seconds_frozen_layers": 0.0}]}
        (folder / "state.json").write_text(json.dumps({"state": state}))
    for name in ("model.keras", "recall.json", "matches.png"):
        (run / name).touch()
    (run / "share").write_text(str(share))


def write_measured(output, run, places):
    """Writes what measuring a run leaves behind."""
    found = round(QUERIES * float((output / run / "share").read_text()))
    ranks = {OFF_THE_SHELF: [0] * 24 + [9] * (QUERIES - 24), "trained": [0] * found + [9] * (QUERIES - found)}
    table = {"set_name": places["name"], "dataset": "town", "protocol": "25 m", "database": 80, "ns": [1, 5, 10]}
    path = output / "measured" / run / f"{places['name']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    origin = json.dumps(["", places])
    path.write_text(json.dumps({"origin": origin, "tables": {places["name"]: table | {"ranks": ranks}}}))


@pytest.fixture
def output(tmp_path):
    return tmp_path / "ablation"


@pytest.fixture
def ablate(output, monkeypatch):
    """Starts the program with processes that do what `train` does, and returns the runs that were trained."""
    handler = signal.getsignal(signal.SIGTERM)

    def ablate(*arguments, train=finish, measure=write_measured):
        trained = []

        def process(command, stdout, stderr, check):
            if command[2] != "trainers.pitts":
                folder, run, sets, _ = json.loads(command[-1])
                for places in sets:
                    measure(output, os.path.basename(run), places)
                return
            trained.append(command)
            stdout.write("".join(f"line {i}\n" for i in range(100)))
            train(output / name_of(command))

        monkeypatch.setattr(runs, "subprocess", SimpleNamespace(run=process))
        monkeypatch.setattr(checks, "check_runs", lambda *_: None)
        monkeypatch.setattr("trainers.stages.ablation.results.draw_forest", lambda path, *_: path.touch())
        config, rest = parse(
            AblationConfig, [f"--root={output.parent}", f"--output={output}", "--seeds=0,1", *arguments]
        )
        ablation.run(config.changed({"passed_on": tuple(rest)}))
        return [name_of(command) for command in trained]

    yield ablate
    signal.signal(signal.SIGTERM, handler)


def name_of(command):
    return next(one for one in command if one.startswith("--output=")).rsplit("/", 1)[1]


def rows(output, name="ablation.csv"):
    return list(csv.DictReader((output / name).read_text().splitlines()))


def test_every_combination_is_trained_seed_by_seed_and_tabulated(ablate, output, capsys):
    shares = iter([0.5, 0.6, 0.55, 0.65])
    trained = ablate(*LOSSES, "--", "--epochs=5", train=lambda run: finish(run, next(shares)))
    assert trained == [f"loss={loss}+seed={seed}" for seed in (0, 1) for loss in ("triplet", "contrastive")]
    table = (output / "ablation.md").read_text()
    assert table == capsys.readouterr().out
    assert "# 4 of 4 runs; 2 combinations; baseline: loss=triplet" in table
    assert "Best on validation: **loss=contrastive**, trained, recall@1 0.625. 4 runs of 2 combinations" in table
    [first, second] = rows(output)
    assert (first["combination"], first["seeds"], float(first["recall@1"])) == ("loss=triplet", "0 1", 0.525)
    assert float(second["gain"]) == pytest.approx(22.5)
    assert float(second["over baseline"]) == pytest.approx(10)
    assert all(0 <= float(row["processor minutes"]) < 1 for row in rows(output, "runs.csv"))


def test_a_run_gets_the_common_flags_its_own_and_the_one_store(ablate, output, monkeypatch):
    commands = []
    ablate(*LOSSES, "--seeds=3", "--", "--epochs=5", train=lambda run: (finish(run), commands.append(run)))
    ablate(*LOSSES, "--seeds=4", "--", "--epochs=5", train=lambda run: (finish(run), commands.append(run)))
    assert [run.name for run in commands[2:]] == ["loss=triplet+seed=4", "loss=contrastive+seed=4"]
    assert {row["seeds"] for row in rows(output)} == {"4"}  # Of this call; the others are kept.


def test_more_values_settings_and_seeds_make_only_new_runs(ablate):
    assert len(ablate(*LOSSES, "--", "--epochs=5")) == 4
    assert ablate("--grid=loss=info_nce,triplet", "--", "--epochs=5") == [
        "loss=info_nce+seed=0",
        "loss=info_nce+seed=1",
    ]
    # mining=random is what all had.
    added = ablate(*LOSSES, "--grid=mining=random,full", "--seeds=0", "--", "--epochs=5")
    assert added == ["loss=triplet+mining=full+seed=0", "loss=contrastive+mining=full+seed=0"]
    # What was common may move into the grid.
    assert ablate(*LOSSES, "--grid=epochs=5,6", "--seeds=0") == [
        f"loss={n}+epochs=6+seed=0" for n in ("triplet", "contrastive")
    ]


def test_a_run_of_a_version_that_did_not_know_a_setting_is_the_same_run(ablate, output):
    ablate(*LOSSES, "--seeds=0")
    known = json.loads((output / "runs.json").read_text())
    for run in known.values():
        for name in ("jit_compile", "positive_heading", "images_per_place"):  # The last has no effect here.
            del run["settings"][name]
    (output / "runs.json").write_text(json.dumps(known))
    assert ablate(*LOSSES, "--seeds=0") == []


def test_other_common_settings_are_refused(ablate):
    ablate(*LOSSES, "--", "--epochs=5", "--mining=full")
    with pytest.raises(ValueError, match=r"`output` must be a new folder.*epochs: 5 before, 6 now\. Where it"):
        ablate(*LOSSES, "--", "--mining=full", "--epochs=6")
    assert ablate(*LOSSES, "--", "--mining=full", "--epochs=5") == []  # In another order.


def test_a_run_that_fails_is_named_with_its_log_and_the_others_still_run(ablate, output):
    def train(run):
        if run.name != "loss=triplet+seed=1":
            finish(run)

    run = f"{output}/loss=triplet+seed=1"
    with pytest.raises(
        SystemExit, match=re.escape(f"{run} failed; {run}.log ends with:\n    line 85\n") + r"(?s:.*)1 of 4"
    ):
        ablate(*LOSSES, train=train)
    assert [row["seeds"] for row in rows(output)] == ["0", "0 1"]
    assert "no seed in common" not in (output / "ablation.md").read_text()
    assert ablate(*LOSSES) == ["loss=triplet+seed=1"]
    assert [row["seeds"] for row in rows(output)] == ["0 1", "0 1"]


def test_a_run_that_cannot_be_measured_is_named_and_measured_by_the_next_call(ablate, output):
    with pytest.raises(SystemExit, match="2 of 2 runs failed"):
        ablate(*LOSSES, "--seeds=0", measure=lambda *_: None)
    assert not (output / "ablation.md").exists()
    assert ablate(*LOSSES, "--seeds=0") == []
    assert len(rows(output)) == 2


def test_a_budget_ends_between_runs_and_says_what_is_left(ablate, output, capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(rounds.time, "monotonic", lambda: clock[0])

    def train(run):
        finish(run)
        clock[0] += 1500

    # After two runs of 25 minutes another one would end beyond the hour.
    assert len(ablate(*LOSSES, "--budget=1h", train=train)) == 2
    assert (
        "The budget is spent. 2 runs are left: loss=triplet, seed 1, loss=contrastive, seed 1"
        in capsys.readouterr().out
    )
    clock[0] = 0
    assert len(ablate(*LOSSES, "--budget=30m", train=train)) == 1
    assert [row["seeds"] for row in rows(output)] == ["0 1", "0"]


def test_what_remains_is_estimated_from_the_runs_so_far(ablate, caplog, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(rounds.time, "monotonic", lambda: clock[0])

    def train(run):
        finish(run)
        clock[0] += 600

    with caplog.at_level("INFO", "keras_sare"):
        ablate(*LOSSES, train=train)
    assert "It took 10 min; 3 runs are left, about 30 min" in caplog.text
    assert "store 1 of 1, is shared by: loss=triplet; loss=contrastive" in caplog.text


def test_runs_with_other_frozen_layers_are_told_to_have_a_store_of_their_own(ablate, caplog):
    with caplog.at_level("INFO", "keras_sare"):
        ablate("--grid=image_size=96,128;192,256", "--grid=loss=triplet,info_nce", "--seeds=0")
    assert (
        "store 1 of 2, is shared by: image_size=96,128, loss=triplet; image_size=96,128, loss=info_nce" in caplog.text
    )
    assert "store 2 of 2" in caplog.text


def test_cost_and_tables_are_kept_when_the_program_is_stopped(ablate, output):
    def interrupted(run):
        if "contrastive" in run.name:
            signal.raise_signal(signal.SIGTERM)
        finish(run)

    with pytest.raises(SystemExit, match="The same command goes on"):
        ablate(*LOSSES, train=interrupted)
    assert json.loads((output / "loss=contrastive+seed=0.cost.json").read_text())["is_whole"]
    assert [row["combination"] for row in rows(output)] == ["loss=triplet"]


def test_a_cost_of_which_a_kill_lost_a_part_says_so(ablate, output):
    class Killed(BaseException):
        pass

    def killed(run):
        # What is on the disk while a run is trained is what a kill leaves.
        cost = json.loads((output / f"{run.name}.cost.json").read_text())
        assert not cost["is_whole"]
        raise Killed

    with pytest.raises(Killed):
        ablate(*LOSSES, "--seeds=0", train=killed)
    (output / "loss=triplet+seed=0.cost.json").write_text(
        '{"seconds": 600, "processor_seconds": 60, "is_whole": false}'
    )
    ablate(*LOSSES, "--seeds=0")
    assert "| loss=triplet | 1 | 12.0 | 7.0 | at least 10.0 | at least 1." in (output / "ablation.md").read_text()
    [before, *_] = rows(output, "runs.csv")
    assert (before["whole cost"], before["best epoch"]) == ("0", "7")


def test_a_cost_that_cannot_be_read_or_kept_does_not_end_the_ablation(ablate, output, caplog):
    (output / "loss=triplet+seed=0.cost.json" / "full").mkdir(parents=True)
    ablate(*LOSSES, "--seeds=0")
    assert "loss=triplet+seed=0 took is not kept" in caplog.text
    assert "| loss=triplet | 1 | 12.0 | 7.0 | not known | not known |" in (output / "ablation.md").read_text()


def test_the_test_split_is_shown_only_when_asked_for_and_the_report_says_after_how_many_runs(ablate, output):
    ablate(*LOSSES, "--seeds=0")
    assert "## test" not in (output / "ablation.md").read_text()
    ablate(*LOSSES, "--seeds=0", "--test")
    text = (output / "ablation.md").read_text()
    assert "## test" in text
    assert "Test figures were first shown when 2 runs had been looked at on validation.\n" in text
    ablate(*LOSSES)
    text = (output / "ablation.md").read_text()
    assert "## test" not in text
    assert "first shown when 2 runs" in text
    assert "**2 runs were made since" in text


def test_losing_on_places_that_were_not_trained_on_is_a_fault(ablate, output):
    def measure(output, run, places):
        if places["name"] == "tower" and "triplet" in run:
            (output / run / "share").write_text("0.1")
        write_measured(output, run, places)

    ablate(*LOSSES, f"--measure_on=tower={output.parent}:val", measure=measure)
    text = (output / "ablation.md").read_text()
    [triplet, contrastive] = [
        line for line in text.partition("### tower: trained")[2].splitlines() if line.startswith("| loss")
    ][:2]
    assert "**FAULT: loses**" in triplet
    assert "FAULT" not in contrastive
    assert "FAULT: loses" not in text.partition("## tower")[0]


def grid_of(*arguments):
    config, rest = parse(AblationConfig, ["--root=town", "--output=out", *arguments])
    return read_grid(config.changed({"passed_on": tuple(rest)}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid=los=triplet"], "Unknown command line flag 'los'. Did you mean: loss"),
        (["--grid=mining=some"], "--grid=mining=some: .*should be one of <random"),
        (["--grid=loss"], "`grid` must be SETTING=VALUE,VALUE. Received: --grid=loss"),
        (["--grid=seed=1,2"], "`grid` must not hold seed, which --seeds says"),
        (["--grid=loss=triplet", "--grid=loss=info_nce"], "`grid` must hold loss once"),
        (["--grid=loss=triplt,triplet"], "^loss=triplt: `loss` must be one of contrastive, "),
        (["--grid=loss=triplet", "--", "--loss=info_nce"], "--loss must not stand after -- where --grid holds loss"),
        (["--", "--store=there"], "--store must not stand after --: --output says it"),
        (["--", "--epoch=3"], "After --: Unknown command line flag 'epoch'"),
        (
            ["--grid=loss=triplet", "--baseline=loss=info_nce"],
            "`baseline` must be .* loss=triplet. Received: loss=info_nce",
        ),
        (["--grid=weights=a.keras", "--grid=clusters=4,8"], "^weights=a.keras, clusters=4 and 1 more: .*whole model"),
    ],
)
def test_wrong_grids_are_refused_in_a_line(arguments, message):
    with pytest.raises(ValueError, match=message):
        grid_of(*arguments)


def test_all_errors_are_told_at_once(caplog):
    with pytest.raises(ValueError, match="correct the 4 errors above"):
        grid_of("--grid=los=triplet", "--grid=epochs=-1,x", "--", "--epochs=3")
    assert "'los'" in caplog.text
    assert "epochs=-1" in caplog.text


def test_combinations_that_would_train_the_same_are_left_out_and_told(caplog):
    with caplog.at_level("INFO", "keras_sare"):
        grid = grid_of("--grid=loss=sare_joint,triplet", "--grid=kernel=gaussian,cauchy", "--baseline=kernel=cauchy")
    names = ["loss=sare_joint, kernel=gaussian", "loss=sare_joint, kernel=cauchy", "loss=triplet"]
    assert [one.name for one in grid.combinations] == names
    assert grid.baseline.name == names[1]
    assert grid.combinations[2].flags == ["--loss=triplet"]
    assert "Left out: loss=triplet, kernel=cauchy, which is the same training as loss=triplet" in caplog.text
    # How patient a run is has no effect where the last epoch is kept.
    grid = grid_of("--grid=patience=3,5", "--grid=select=best,last")
    assert [one.name for one in grid.combinations] == [
        "patience=3, select=best",
        "select=last",
        "patience=5, select=best",
    ]


def test_settings_of_other_batches_have_no_effect():
    grid = grid_of("--grid=batches=places,tuples", "--grid=negatives=5,10", "--grid=images_per_place=2,4")
    assert [one.name for one in grid.combinations] == [
        "batches=places, images_per_place=2",
        "batches=places, images_per_place=4",
        "batches=tuples, negatives=5",
        "batches=tuples, negatives=10",
    ]


def test_a_loss_is_not_given_what_it_does_not_take():
    grid = grid_of("--grid=loss=sare_joint,triplet", "--grid=temperature=0.1,0.2")
    assert [one.flags for one in grid.combinations] == [
        ["--loss=sare_joint", "--temperature=0.1"],
        ["--loss=sare_joint", "--temperature=0.2"],
        ["--loss=triplet"],
    ]
    assert "temperature" not in grid.combinations[2].config.given


def test_a_baseline_that_was_left_out_is_the_one_that_it_equals():
    grid = grid_of("--grid=loss=triplet,sare_joint", "--grid=kernel=gaussian,cauchy", "--baseline=kernel=cauchy")
    assert grid.baseline.name == "loss=triplet"


def test_several_workers_are_refused(ablate, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}}')
    with pytest.raises(ValueError, match="TF_CONFIG must not be set"):
        ablate(*LOSSES)


@pytest.mark.parametrize("text", ["tower", "tower=", "tower=folder", "to wer=folder:val", "tower=folder:"])
def test_sets_to_measure_on_are_named_as_they_must_be(text):
    with pytest.raises(ValueError, match="`measure_on` must be NAME=FOLDER:SPLIT"):
        read_sets([text])


def test_sets_have_names_of_their_own_and_rules_that_count_all_queries():
    assert read_sets(["a=x/y:val", "b=x:test:msls"]) == [
        MeasuredSet("a", "x/y", "val"),
        MeasuredSet("b", "x", "test", "msls"),
    ]
    for sets, message in (
        (["a=x:val", "a=y:val"], "once"),
        (["val=x:val"], "once"),
        (["a=x:val:tokyo247"], "all queries"),
    ):
        with pytest.raises(ValueError, match=message):
            read_sets(sets)


@pytest.mark.parametrize(
    ("budget", "seconds"), [("6h", 21600), ("90m", 5400), ("1h30m", 5400), ("0.5h", 1800), ("", None)]
)
def test_budgets_are_times(budget, seconds):
    assert AblationConfig(budget=budget).budget_seconds() == seconds


@pytest.mark.parametrize("budget", ["6", "h", "6h30", "-1h", "1d"])
def test_budgets_that_are_no_times_are_refused(budget):
    with pytest.raises(ValueError, match="`budget` must be a time"):
        AblationConfig(budget=budget).budget_seconds()


@pytest.fixture(scope="module")
def flags(town, small_start):
    chosen = [f"--weights={small_start}", "--train_from=conv2", "--image_size=32,48", "--dim=8"]
    return [*chosen, "--epochs=1", "--negatives=2"]


def test_what_trainers_pitts_would_refuse_is_told_before_the_first_run(town, flags, tmp_path, unread_images, caplog):
    arguments = ["--grid=negatives=2,500", "--grid=tuples_per_step=2,40", "--", *flags[:-1]]
    config, rest = parse(AblationConfig, [f"--root={town}", f"--output={tmp_path / 'out'}", *arguments])
    grid = read_grid(config.changed({"passed_on": tuple(rest)}))
    wanted = runs.plan(tmp_path / "out", grid.combinations, [0])
    with pytest.raises(ValueError, match="correct the 2 errors above"):
        checks.check_runs(wanted, [MeasuredSet("val", str(town), "val", is_home=True)])
    for setting in ("tuples_per_step", "negatives"):
        assert f"`{setting}` must not exceed" in caplog.text
    assert " and 1 more: " in caplog.text  # One of two is told for the combination that has both.
    with pytest.raises(ValueError, match=r"tower=.*:walk: `split` must be one"):
        checks.check_runs(wanted, [MeasuredSet("tower", str(town), "walk")])
    assert not (tmp_path / "out").exists()


def test_a_layer_that_the_model_has_not_is_told_before_the_first_run(town, flags, tmp_path, unread_images):
    arguments = ["--grid=train_from=conv2,conv9", "--", *(one for one in flags if "train_from" not in one)]
    config, rest = parse(AblationConfig, [f"--root={town}", f"--output={tmp_path / 'out'}", *arguments])
    grid = read_grid(config.changed({"passed_on": tuple(rest)}))
    with pytest.raises(ValueError, match="^train_from=conv9: `layer_name` must be one of "):
        checks.check_runs(runs.plan(tmp_path / "out", grid.combinations, [0]), [])


@pytest.mark.slow
def test_real_runs_are_trained_killed_resumed_and_read(town, flags, output):
    command = [
        sys.executable,
        "-m",
        "trainers.ablation",
        f"--root={town}",
        f"--output={output}",
        *LOSSES,
        "--seeds=3,4",
    ]
    command += [f"--measure_on=again={town}:test", "--", *flags]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in first.stdout:
        if "Run 2 of 4" in line:
            first.kill()  # Its training goes on, and the next call waits for it.
            break
    first.wait()
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert len({row["table"] for row in rows(output)}) > 1
    runs_of = rows(output, "runs.csv")
    assert len({(row["combination"], row["seed"]) for row in runs_of}) == 4
    assert {row["model"] for row in runs_of} == {OFF_THE_SHELF, "trained", "whitened"}
    assert (output / "ablation.png").stat().st_size > 1000
