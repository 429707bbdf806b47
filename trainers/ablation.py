"""Trains with all combinations of some settings and several seeds, and tabulates which differences are beyond chance.

    python -m trainers.ablation --root=PITTS --output=runs/ablation --grid=loss=sare_joint,triplet \
        --grid=mining=random,full --seeds=0,1,2 --budget=6h -- --epochs=5 --image_size=240,320

The grid is over any settings of `trainers.pitts`; what follows `--` goes to every run. All is checked before the first
run starts. Runs share one store of the frozen layers' output. Models are measured on the validation split, and on the
places that --measure_on names; --test adds the test split. The same command started again, after whatever stopped it,
skips finished runs and resumes others; with more values, settings or seeds only new runs are made. A run that fails is
named at the end, and the others still run. Writes `ablation.md`, `ablation.csv`, `ablation.png` and `runs.csv`.
"""

import logging
import signal
import sys
import time
from pathlib import Path

from trainers.config import AblationConfig
from trainers.program import start_program

logger = logging.getLogger("keras_sare.ablation")

GOES_ON = "The same command goes on."


def run(config: AblationConfig) -> None:
    """Runs what is missing and writes the tables.

    Raises:
        FileNotFoundError: there is no such dataset.
        ValueError: a setting is wrong, or the folder's runs were made with others.
        RuntimeError: another ablation runs in the folder.
        OSError: nothing can be written there.
        SystemExit: runs failed; the text says which, with the ends of their logs.
    """
    from keras_sare.utils.files import check_writable_folder, lock
    from trainers.stages.ablation.checks import check_runs, leave_devices, log_stores
    from trainers.stages.ablation.grid import read_grid
    from trainers.stages.ablation.measured_sets import sets_of
    from trainers.stages.ablation.rounds import Budget, Rounds
    from trainers.stages.ablation.runs import check_common, plan, record

    budget = Budget(config.budget_seconds(), time.monotonic())
    config.check()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"Terminated. {GOES_ON}"))
    if not Path(config.root).is_dir():
        raise FileNotFoundError(f"`root` must be the folder of a dataset. Received: root={config.root!r}")
    leave_devices()
    output = Path(config.output)
    check_writable_folder(output)
    grid = read_grid(config)
    sets = sets_of(config)
    check_common(output, grid.common, grid.names)
    runs = plan(output, grid.combinations, [int(seed) for seed in config.seeds])
    check_runs(runs, sets)
    lock(output / "ablation.lock")
    record(output, runs, grid.common)
    log_stores(runs)
    rounds = Rounds(output, grid.baseline.name, runs, sets, [f"--root={config.root}", *config.passed_on])
    rounds.go(budget)
    print(rounds.write())
    if rounds.failed:
        sys.exit(rounds.failures())


if __name__ == "__main__":
    start_program("trainers.ablation", __doc__, AblationConfig, run, f"Interrupted. {GOES_ON}")
