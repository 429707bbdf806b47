"""Trains with several losses and seeds, one run after the other, and tabulates what each gains on the test split.

    python -m trainers.compare_losses --root=PITTS --output=runs/compare --losses=sare_joint,triplet --seeds=0,1,2 \
        -- --epochs=5 --image_size=240,320

What follows `--` goes to every run of `trainers.pitts`. The runs share one store of the frozen layers' output, which
the first one fills: its minutes include that. The same command started again, after whatever stopped it, skips finished
runs and resumes others. A run that fails is named at the end, and the others still run. Writes `compare.md`,
`compare.csv` and `compare.png`, as far as the runs are finished.
"""

import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.config import CompareConfig
from trainers.program import start_program

if TYPE_CHECKING:
    from keras_sare.evaluation.comparisons.run_comparison import FinishedRun

logger = logging.getLogger("keras_sare.compare_losses")


def run(config: CompareConfig) -> None:
    """Runs what is missing and writes the tables.

    Raises:
        ValueError: a setting is wrong, the folder's runs were made with others, or the first run is refused.
        SystemExit: runs failed; the text says which, with the ends of their logs.
    """
    from trainers.stages import compared_runs as stages

    config.check()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Terminated. The same command goes on."))
    if not Path(config.root).is_dir():
        raise FileNotFoundError(f"`root` must be the folder of a dataset. Received: root={config.root!r}")
    output = Path(config.output)
    passed_on = [f"--root={config.root}", *config.passed_on]
    stages.check_command(output / "command.json", passed_on)
    finished: list[FinishedRun] = []
    failed: list[Path] = []
    # Seed by seed, so that all losses can be compared early.
    runs = list(dict.fromkeys((loss, int(seed)) for seed in config.seeds for loss in config.losses))
    for i, (loss, seed) in enumerate(runs):
        run = output / f"{loss}-seed{seed}"
        if not stages.is_finished(run):
            logger.info("Run %d of %d: %s, seed %d. Its messages: %s.log", i + 1, len(runs), loss, seed, run)
            stages.write_comparison(output, finished)
            stages.train(run, [*passed_on, f"--loss={loss}", f"--seed={seed}"])
        if stages.is_finished(run):
            finished.append(stages.read(run, loss, seed))
        else:
            stages.check_started(run, first=not finished and not failed)
            failed.append(run)
    print(stages.write_comparison(output, finished))
    if failed:
        logs = [f"{run} failed; {run}.log ends with:\n{stages.tail(run)}" for run in failed]
        sys.exit("\n\n".join([*logs, f"{len(failed)} of {len(runs)} runs failed. The same command tries them again."]))


if __name__ == "__main__":
    start_program("trainers.compare_losses", __doc__, CompareConfig, run, "Interrupted. The same command goes on.")
