"""Trains with several losses and seeds, one run after the other, and tabulates what each gains on the test split.

    python -m trainers.compare_losses --root=PITTS --output=runs/compare --losses=sare_joint,triplet --seeds=0,1,2 \
        -- --epochs=5 --image_size=240,320

What follows `--` goes to every run of `trainers.pitts`. The runs share one store of the frozen layers' output, which
the first one fills: its minutes include that. The same command started again, after whatever stopped it, skips finished
runs and resumes others. A run that fails is named at the end, and the others still run. Writes `compare.md`,
`compare.csv` and `compare.png`, as far as the runs are finished.
"""

import json
import logging
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from absl import app, flags

from keras_sare.evaluation import RecallReport
from keras_sare.evaluation.comparisons.run_comparison import FinishedRun, comparison_csv, format_comparison
from keras_sare.evaluation.plots.comparison_plot import draw_comparison
from keras_sare.utils.error_text import expected_errors
from keras_sare.utils.files import atomic_path
from keras_sare.utils.progress import show_information

logger = logging.getLogger("keras_sare.compare_losses")

TAIL = 15
"""Lines of a failed run's log that are shown."""

FLAGS = flags.FLAGS


def main(arguments: list[str]) -> None:
    """Runs what is missing and writes the tables."""
    show_information()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Terminated. The same command goes on."))
    if not Path(FLAGS.root).is_dir():
        raise FileNotFoundError(f"`root` must be the folder of a dataset. Received: root={FLAGS.root!r}")
    output, passed_on = Path(FLAGS.output), [f"--root={FLAGS.root}", *arguments[1:]]
    _check_command(output / "command.json", passed_on)
    finished: list[FinishedRun] = []
    failed: list[Path] = []
    # Seed by seed, so that all losses can be compared early.
    runs = list(dict.fromkeys((loss, int(seed)) for seed in FLAGS.seeds for loss in FLAGS.losses))
    for i, (loss, seed) in enumerate(runs):
        run = output / f"{loss}-seed{seed}"
        if not _is_finished(run):
            logger.info("Run %d of %d: %s, seed %d. Its messages: %s.log", i + 1, len(runs), loss, seed, run)
            _write_comparison(output, finished)
            _train(run, [*passed_on, f"--loss={loss}", f"--seed={seed}"])
        if _is_finished(run):
            finished.append(_read(run, loss, seed))
        else:
            _check_started(run, first=not finished and not failed)
            failed.append(run)
    print(_write_comparison(output, finished))
    if failed:
        logs = [f"{run} failed; {run}.log ends with:\n{_tail(run)}" for run in failed]
        sys.exit("\n\n".join([*logs, f"{len(failed)} of {len(runs)} runs failed. The same command tries them again."]))


def _check_command(file: Path, passed_on: list[str]) -> None:
    """Keeps runs of other settings out of the tables."""
    if not file.is_file():
        with atomic_path(file) as path:
            path.write_text(json.dumps(passed_on) + "\n")
    elif (before := json.loads(file.read_text())) != passed_on:
        raise ValueError(
            "`output` must be a new folder, or one whose runs were made with the same --root and flags after `--`: "
            f"{before}. Received: {passed_on}. Where the difference cannot matter, remove {str(file)!r}."
        )


def _is_finished(run: Path) -> bool:
    # The gallery is the last file that a run writes.
    return all((run / name).is_file() for name in ("model.keras", "recall.json", "matches.png"))


def _train(run: Path, arguments: list[str]) -> None:
    """Trains in another process, to its end, and adds up the time that the run took."""
    before = _seconds(run) or 0.0
    command = [sys.executable, "-m", "trainers.pitts", f"--store={run.parent / 'store'}", *arguments]
    started = time.monotonic()
    try:
        with open(f"{run}.log", "a") as log:
            subprocess.run([*command, f"--output={run}", "--resume"], stdout=log, stderr=log, check=False)
    finally:
        _write_seconds(run, before + time.monotonic() - started)


def _check_started(run: Path, first: bool) -> None:
    """Ends the program where the first run was refused: its flags are every run's, but for the loss and the seed."""
    if not first or (run / "run.json").is_file():
        return
    reason = _tail(run).splitlines()[-1].strip()
    for file in (run.parent / "command.json", Path(f"{run}.log"), _timed(run)):
        file.unlink(missing_ok=True)
    with suppress(OSError):  # It may hold other things.
        run.parent.rmdir()
    raise ValueError(f"The first run, {run.name}, did not start, and no other would: {reason}")


def _timed(run: Path) -> Path:
    return run.with_name(f"{run.name}.seconds")


def _seconds(run: Path) -> float | None:
    """What a run has taken so far; None where that is not known."""
    try:
        return float(_timed(run).read_text())
    except (OSError, ValueError):
        return None


def _write_seconds(run: Path, seconds: float) -> None:
    try:
        with atomic_path(_timed(run)) as path:
            path.write_text(f"{seconds:.1f}\n")
    except OSError as error:
        # One figure of a table is not worth the runs that are still to come.
        logger.warning("The time that %s took is not kept: %s", run, error)


def _read(run: Path, loss: str, seed: int) -> FinishedRun:
    last = max(run.glob("checkpoints/epoch-*/state.json"))
    state = json.loads(last.read_text())["state"]
    return FinishedRun(
        kind=loss,
        seed=seed,
        recall=_read_reports(run / "recall.json"),
        other_traversals=_read_reports(run / "recall_other_passes.json"),
        epochs=state["epoch"],
        best_epoch=state["best_epoch"],
        seconds=_seconds(run),
    )


def _read_reports(file: Path) -> dict[str, RecallReport]:
    """By model; none where the dataset names no traversals and there is no such file."""
    if not file.is_file():
        return {}
    return {model: RecallReport.from_json(json.dumps(fields)) for model, fields in json.loads(file.read_text()).items()}


def _write_comparison(output: Path, runs: list[FinishedRun]) -> str:
    """Writes what is known so far, and returns the tables; nothing where no run is finished."""
    if not runs:
        return ""
    table = format_comparison(runs)
    for name, text in (("compare.md", table + "\n"), ("compare.csv", comparison_csv(runs))):
        with atomic_path(output / name) as path:
            path.write_text(text)
    draw_comparison(output / "compare.png", runs)
    return table


def _tail(run: Path) -> str:
    lines = Path(f"{run}.log").read_text(errors="replace").splitlines() or ["(nothing)"]
    return "\n".join(f"    {line}" for line in lines[-TAIL:])


if __name__ == "__main__":
    flags.DEFINE_string("root", None, "Dataset, as for trainers.pitts.", required=True)
    flags.DEFINE_string("output", None, "Folder for the runs and the tables.", required=True)
    flags.DEFINE_list("losses", ["sare_independent", "sare_joint", "triplet", "contrastive"], "Losses to compare.")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of each loss.")
    flags.register_validator("seeds", lambda seeds: all(map(str.isdecimal, seeds)), "must be whole numbers")
    app.run(expected_errors("trainers.compare_losses")(main))
