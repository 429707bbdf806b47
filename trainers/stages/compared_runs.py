"""Stages of `trainers.compare_losses`: a process for each run, and the tables."""

import json
import logging
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from keras_sare.evaluation import RecallReport
from keras_sare.evaluation.comparisons.run_comparison import FinishedRun, comparison_csv, format_comparison
from keras_sare.evaluation.plots.comparison_plot import draw_comparison
from keras_sare.utils.files import atomic_path

logger = logging.getLogger("keras_sare.compare_losses")

TAIL = 15
"""Lines of a failed run's log that are shown."""


def check_command(file: Path, passed_on: list[str]) -> None:
    """Keeps runs of other settings out of the tables."""
    if not file.is_file():
        with atomic_path(file) as path:
            path.write_text(json.dumps(passed_on) + "\n")
    elif (before := json.loads(file.read_text())) != passed_on:
        raise ValueError(
            "`output` must be a new folder, or one whose runs were made with the same --root and flags after `--`: "
            f"{before}. Received: {passed_on}. Where the difference cannot matter, remove {str(file)!r}."
        )


def is_finished(run: Path) -> bool:
    """Whether a run has come to its end."""
    # The gallery is the last file that a run writes.
    return all((run / name).is_file() for name in ("model.keras", "recall.json", "matches.png"))


def train(run: Path, arguments: list[str]) -> None:
    """Trains in another process, to its end, and adds up the time that the run took."""
    before = _seconds(run) or 0.0
    command = [sys.executable, "-m", "trainers.pitts", f"--store={run.parent / 'store'}", *arguments]
    started = time.monotonic()
    try:
        with open(f"{run}.log", "a") as log:
            subprocess.run([*command, f"--output={run}", "--resume"], stdout=log, stderr=log, check=False)
    finally:
        _write_seconds(run, before + time.monotonic() - started)


def check_started(run: Path, first: bool) -> None:
    """Ends the program where the first run was refused: its flags are every run's, but for the loss and the seed."""
    if not first or (run / "run.json").is_file():
        return
    reason = tail(run).splitlines()[-1].strip()
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


def read(run: Path, loss: str, seed: int) -> FinishedRun:
    """Reads what a finished run measured."""
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


def write_comparison(output: Path, runs: list[FinishedRun]) -> str:
    """Writes what is known so far, and returns the tables; nothing where no run is finished."""
    if not runs:
        return ""
    table = format_comparison(runs)
    for name, text in (("compare.md", table + "\n"), ("compare.csv", comparison_csv(runs))):
        with atomic_path(output / name) as path:
            path.write_text(text)
    draw_comparison(output / "compare.png", runs)
    return table


def tail(run: Path) -> str:
    """The last lines of a run's log."""
    lines = Path(f"{run}.log").read_text(errors="replace").splitlines() or ["(nothing)"]
    return "\n".join(f"    {line}" for line in lines[-TAIL:])
