"""Measures a run in a process of its own, as trainings are: `python -m` this module, as `arguments` says.

The memory of the processor or GPU that it takes is free again when the next training starts.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from trainers.stages.ablation.measured_sets import MeasuredSet


def arguments(folder: Path, run: Path, sets: Sequence[MeasuredSet], store: Path) -> list[str]:
    """Command that measures; see `trainers.stages.ablation.measuring.measure`."""
    told = json.dumps([str(folder), str(run), list(map(asdict, sets)), str(store)])
    return [sys.executable, "-m", "trainers.stages.ablation.measure_process", told]


def main(told: str) -> None:
    """Measures as the arguments say; errors of one line, as a program's."""
    from keras_sare.utils.quiet_start import load_tensorflow

    load_tensorflow()
    from keras_sare.utils.error_text import expected_errors
    from keras_sare.utils.progress import show_information
    from trainers.stages.ablation.measuring import measure

    folder, run, sets, store = json.loads(told)
    with expected_errors("trainers.ablation"):
        show_information()
        measure(Path(folder), Path(run), [MeasuredSet(**one) for one in sets], Path(store))


if __name__ == "__main__":
    main(sys.argv[1])
