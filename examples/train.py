"""Trains a place-recognition model on photos with positions, and says what it gained; started again, it goes on.

python examples/train.py my_photos runs/my_photos --image_size 216 384
"""

import argparse
import json
from pathlib import Path
from typing import Any

from trainers import pitts
from trainers.config import PittsConfig


def train(root: str, output: str, **settings: Any) -> dict[str, float]:
    """Runs the recipe for a few hundred photos, and returns test recall@1 by model; the first is that before training.

    Args:
        root: folder with places.csv or NetVLAD's .mat files.
        output: folder of the run: `model.keras`, tables, curves, pictures and checkpoints.
        settings: what is to differ from the recipe, see `PittsConfig`.
    """
    resume = Path(output, "run.json").exists()
    pitts.run(PittsConfig(root=root, output=output, recipe="few_photos", resume=resume, **settings))
    reports = json.loads(Path(output, "recall.json").read_text())
    return {model: report["recalls"][0] for model, report in reports.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root")
    parser.add_argument("output")
    parser.add_argument("--image_size", type=int, nargs=2, default=(480, 640), help="Height and width.")
    given = parser.parse_args()
    for name, recall in train(given.root, given.output, image_size=tuple(given.image_size)).items():
        print(f"{name}: recall@1 {recall:.3f}")
