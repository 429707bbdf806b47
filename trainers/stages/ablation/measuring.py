"""What the models of a finished run answer to the queries of a set of places, from the store of the frozen layers."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sare import models
from keras_sare.datasets import PlaceDataset
from keras_sare.evaluation.comparisons.grid_runs import OFF_THE_SHELF, MeasuredRanks
from keras_sare.evaluation.measures.measured import Measured
from keras_sare.evaluation.place_report import protocols_of
from keras_sare.evaluation.protocols import ground_truth
from keras_sare.extraction import Extractor
from keras_sare.extraction.array_cache import model_digest
from keras_sare.training import Places, RunFolder, open_places
from keras_sare.training.checkpoints.run_changes import complete
from keras_sare.utils.digests import content_digest
from keras_sare.utils.files import atomic_path
from trainers.config import PittsConfig
from trainers.stages.ablation.measured_sets import MeasuredSet
from trainers.stages.places.fed import fed

_BLOCK = 1024
Sides = tuple[np.ndarray, np.ndarray]


def measured_path(folder: Path, run: Path, places: MeasuredSet) -> Path:
    """File of what a run's models answered to the queries of a set."""
    return folder / "measured" / run.name / f"{places.name}.json"


def read_measured(folder: Path, run: Path, places: MeasuredSet) -> dict[str, MeasuredRanks] | None:
    """What was measured, by table; None where it was not yet, or of other models or places."""
    path = measured_path(folder, run, places)
    if not path.is_file():
        return None
    contents = json.loads(path.read_text())
    if contents["origin"] != _origin(run, places):
        return None
    return {table: _read(fields) for table, fields in contents["tables"].items()}


def measure(folder: Path, run: Path, sets: Sequence[MeasuredSet], store: Path) -> None:
    """Measures the models of a finished run on sets of places, where they were not yet.

    Only the trained layers compute, on the stored output of the frozen ones, which is filled where it is missing. What
    the model before training answers is kept: runs that start from the same one share it.

    Args:
        folder: of the grid.
        run: folder of the run.
        sets: what to measure on.
        store: of the frozen layers' output.
    """
    config = PittsConfig(output=str(run), store=str(store)).completed(complete(RunFolder(run).settings))
    for places in sets:
        if read_measured(folder, run, places) is None:
            tables = _tables(folder, RunFolder(run), config, places)
            contents = {"origin": _origin(run, places), "tables": {name: _fields(one) for name, one in tables.items()}}
            _write(measured_path(folder, run, places), contents)


def _tables(folder: Path, run: RunFolder, config: PittsConfig, places: MeasuredSet) -> dict[str, MeasuredRanks]:
    dataset = places.open_photos(config)
    start = keras.saving.load_model(run.off_the_shelf)
    trunk, _ = models.split(start, config.train_from)
    options: dict[str, Any] = {"dtype": config.store_dtype}
    limit = config.store_gb * 1e9
    name = places.split
    opened = open_places(
        {name: dataset}, trunk, config.image_size, config.settings(), Path(config.store or ""), limit, **options
    )[name]
    tables = _start_tables(folder, start, opened, config, places)
    for model, descriptors in _descriptors(run, opened, config.train_from):
        found = _measure(descriptors, dataset, config, places)
        tables = {
            table: replace(one, ranks={**one.ranks, model: found[table].ranks[OFF_THE_SHELF]})
            for table, one in tables.items()
        }
    return tables


def _start_tables(
    folder: Path, start: keras.Model, opened: Places, config: PittsConfig, places: MeasuredSet
) -> dict[str, MeasuredRanks]:
    """What the model before training answers, of an earlier run where it started from the same one."""
    read = [config.train_from, config.image_size, config.orientation, config.store_dtype, config.negative_radius]
    parts = [model_digest(start), opened.fingerprint, *map(str, read), json.dumps(asdict(places)), str(opened.stored)]
    path = folder / "measured" / OFF_THE_SHELF.replace(" ", "_") / f"{places.name}-{content_digest(parts)[:32]}.json"
    if not path.is_file():
        descriptors = opened.extract_all(Extractor(fed(start, opened, config.train_from)))
        tables = _measure(descriptors, opened.dataset, config, places)
        _write(path, {name: _fields(one) for name, one in tables.items()})
    return {name: _read(fields) for name, fields in json.loads(path.read_text()).items()}


def _descriptors(run: RunFolder, opened: Places, train_from: str) -> Iterator[tuple[str, Sides]]:
    """Of the kept epoch's model, and with its whitening where there is one."""
    whitened = next(one for one in (run.whitened, run.model) if one.is_file())
    whole = keras.saving.load_model(whitened)
    model = models.without_whitening(whole)
    sides = opened.extract_all(Extractor(fed(model, opened, train_from)))
    yield "trained", sides
    if model is not whole:
        yield "whitened", (_whiten(whole.layers[-1], sides[0]), _whiten(whole.layers[-1], sides[1]))


def _whiten(layer: keras.layers.Layer, descriptors: np.ndarray) -> np.ndarray:
    blocks = (descriptors[start : start + _BLOCK] for start in range(0, len(descriptors), _BLOCK))
    return np.concatenate([keras.ops.convert_to_numpy(layer(block)) for block in blocks])


def _measure(
    descriptors: Sides, dataset: PlaceDataset, config: PittsConfig, places: MeasuredSet
) -> dict[str, MeasuredRanks]:
    """Ranks by table, as of the model before training."""
    plain, *others = protocols_of(dataset, ground_truth(places.rule(config), dataset))
    tables: dict[str, MeasuredRanks] = {}
    for one in (plain, *others):
        one.measure(OFF_THE_SHELF, descriptors, dataset)
        tables[places.name + one.title.removeprefix(plain.title)] = _ranks(one, places)
    return tables


def _ranks(measured: Measured, places: MeasuredSet) -> MeasuredRanks:
    report = measured.reports[OFF_THE_SHELF]
    ranks = {OFF_THE_SHELF: measured.answers[OFF_THE_SHELF].ranks}
    return MeasuredRanks(places.name, report.dataset, report.protocol, report.database, report.ns, ranks)


def _origin(run: Path, places: MeasuredSet) -> str:
    choice = RunFolder(run).choice
    return json.dumps([choice.origin if choice else "", asdict(places)])


def _fields(one: MeasuredRanks) -> dict[str, Any]:
    return asdict(one) | {"ranks": {model: ranks.tolist() for model, ranks in one.ranks.items()}}


def _read(fields: dict[str, Any]) -> MeasuredRanks:
    ranks = {model: np.array(each, np.int64) for model, each in fields["ranks"].items()}
    return MeasuredRanks(**fields | {"ns": tuple(fields["ns"]), "ranks": ranks})


def _write(path: Path, contents: dict[str, Any]) -> None:
    with atomic_path(path) as file:
        file.write_text(json.dumps(contents) + "\n")
