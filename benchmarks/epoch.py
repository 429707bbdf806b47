"""A whole epoch with and without the store of the frozen layers' output: refreshes, mining, steps and validation.

    python benchmarks/epoch.py --root=IE_TOWER --weights=vgg16_imagenet_torchvision_notop.h5 --preprocessing=torch
    python benchmarks/epoch.py --root=IE_TOWER --weights=... --share=0.3      # of the images: a quick look

Both train one epoch of the same tuples by the `Trainer`, in processes of their own that use two threads. Given are the
seconds of that epoch by part, what filling the store took (once for all epochs, runs and losses) and how many times
faster the epoch was. Losses and recalls tell that both did the same work.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from machine import limit_threads

from keras_sare import models
from keras_sare.datasets import PlaceDataset, open_splits
from keras_sare.distribution import choose_strategy
from keras_sare.losses import SARELoss
from keras_sare.training import Places, PlaceSettings, RecallValidation, Trainer, open_places

SPLITS = ("train", "val")
SAMPLE = 100
"""Images of which NetVLAD's clusters are made."""
NEARBY = 10.0
"""Metres, the radius of a potential positive."""


def part_of(dataset: PlaceDataset, share: float) -> PlaceDataset:
    """The first images of the database, and the queries that have one of them nearby."""
    if share >= 1:
        return dataset
    database = dataset.database.subset(np.arange(round(share * len(dataset.database))))
    fewer = replace(dataset, database=database)
    return replace(fewer, queries=dataset.queries.subset(np.flatnonzero(fewer.positives(NEARBY).counts)))


def measure(flags: argparse.Namespace) -> dict[str, Any]:
    """Trains an epoch and returns its row of the log, with the seconds that filling the store took."""
    limit_threads()
    keras.utils.set_random_seed(0)
    strategy = choose_strategy()
    folder = Path(flags.folder)
    settings = PlaceSettings(epochs=1, negatives=flags.negatives, refresh_every=flags.refresh_every)
    opened = open_splits(flags.root)
    datasets = {name: part_of(opened[name], flags.share) for name in SPLITS}
    model = models.build("vgg16_netvlad", flags.weights, preprocessing=flags.preprocessing)
    models.freeze_before(model, flags.train_from)
    trunk, head = models.split(model, flags.train_from)
    started = time.perf_counter()
    places = open_places(datasets, trunk, flags.size, settings, folder / "store", flags.only * 1e9)
    filling = time.perf_counter() - started
    _initialise(model, places["train"], folder / "clusters.npz", flags.train_from)
    run = folder / f"run-{flags.only:g}"
    validation = RecallValidation(places["val"])
    state = Trainer(head, SARELoss(), places["train"], validation, run, strategy, frozen=trunk).fit()
    return {**state.history[1], "filling": filling}


def _initialise(model: keras.Model, places: Places, file: Path, first: str) -> None:
    """Gives NetVLAD its clusters, those of the first process in both: k-means magnifies what rounding changes."""
    layer = model.get_layer("netvlad")
    if not file.exists():
        ids = np.unique(np.linspace(0, len(places.dataset.database) - 1, SAMPLE).astype(int))
        batches = (inputs for _, inputs in places.inputs.batches(ids, places.settings.extraction_batch))
        models.initialise_netvlad(model, batches, 0, first if places.stored else None)
        np.savez(file, *layer.get_weights())
    layer.set_weights(list(np.load(file).values()))


def print_table(stored: dict[str, Any], computed: dict[str, Any]) -> None:
    """Prints both epochs side by side."""
    print("| part | store warm | without store | times faster |\n|---|---|---|---|")
    for part in [key for key in stored if key.startswith("seconds_")] + ["seconds"]:
        name = "whole epoch" if part == "seconds" else part.removeprefix("seconds_")
        ratio = f"{computed[part] / stored[part]:.1f}" if stored[part] else ""
        print(f"| {name} | {stored[part]:.1f} | {computed[part]:.1f} | {ratio} |")
    with_filling = computed["seconds"] / (stored["seconds"] + stored["filling"])
    print(
        f"\nFilling the store: {stored['filling']:.1f} s, once. Counted into this one epoch: {with_filling:.1f} times"
    )
    for key in ("loss", *(key for key in stored if key.startswith("recall"))):
        print(f"{key}: {stored[key]:.5f} with the store, {computed[key]:.5f} without")


def main() -> None:
    """Runs both epochs and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, help="Dataset, as for trainers.pitts.")
    parser.add_argument("--weights", default="imagenet", help="As for trainers.pitts.")
    parser.add_argument("--preprocessing", help="As for trainers.pitts.")
    parser.add_argument("--size", default="480x640", type=_size, help="height x width.")
    parser.add_argument("--train_from", default="conv5_1", help="First layer that is trained.")
    parser.add_argument("--negatives", type=int, default=10)
    parser.add_argument("--refresh_every", type=int, default=1000)
    parser.add_argument("--share", type=float, default=1.0, help="Share of the images that is taken.")
    parser.add_argument("--store_gb", type=float, default=100.0)
    parser.add_argument("--folder", help="For the store and the runs; by default a temporary folder.")
    parser.add_argument("--output", type=Path, help="JSON file.")
    parser.add_argument("--only", type=float, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.only is not None:
        row = measure(flags)
        (Path(flags.folder) / f"{flags.only:g}.json").write_text(json.dumps(row))
        return
    with tempfile.TemporaryDirectory(dir=flags.folder) as folder:
        rows = []
        for budget in (flags.store_gb, 0.0):
            subprocess.run([sys.executable, *sys.argv, f"--folder={folder}", f"--only={budget}"], check=True)
            rows.append(json.loads((Path(folder) / f"{budget:g}.json").read_text()))
    print_table(*rows)
    if flags.output:
        flags.output.write_text(json.dumps({"store": rows[0], "no store": rows[1]}, indent=1))


def _size(text: str) -> tuple[int, int]:
    height, width = map(int, text.split("x"))
    return height, width


if __name__ == "__main__":
    main()
