"""Stages of `trainers.evaluate`: models, dataset, reports."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_sare.datasets import open_dataset, set_max_pixels
from keras_sare.evaluation import report_places
from keras_sare.evaluation.measures.sweep_files import write_sweep
from keras_sare.evaluation.measures.sweeps import recall_by_database_size, recall_by_dimension
from keras_sare.evaluation.protocols import Protocol, check_columns, counted, ground_truth, named_protocol
from keras_sare.utils.files import check_writable_folder
from trainers.config import EvaluateConfig
from trainers.stages.evaluated.evaluated import Evaluated
from trainers.stages.evaluated.open_models import open_models
from trainers.stages.evaluated.resumable import DescriptorFiles
from trainers.stages.evaluated.stored import StoredDescriptors

_SWEEPS = (("dims", "dimension", recall_by_dimension), ("database_sizes", "database size", recall_by_database_size))
_OWN_RULES = ("radius", "heading", "frames", "same_place", "exclude")


def evaluate_models(config: EvaluateConfig) -> str:
    """Evaluates models on a split of a dataset; returns the tables and verdicts, Markdown."""
    set_max_pixels(config.max_pixels)
    check_writable_folder(Path(config.output))
    protocol = chosen_protocol(config)
    for setting, *_ in _SWEEPS:
        _whole_numbers(setting, getattr(config, setting))
    dataset = open_dataset(config.root, config.split, config.prefix)
    check_columns(protocol, dataset)
    models = {model.name: model for model in open_models(config)}
    if not all(isinstance(model, StoredDescriptors) for model in models.values()):
        dataset = dataset.check_images(config.max_corrupt_share)
    dataset = counted(protocol, dataset)
    descriptors = DescriptorFiles(Path(config.output) / "descriptors")

    def both_sides(model: Evaluated) -> tuple[np.ndarray, np.ndarray]:
        of_queries = model if protocol.query_size is None else model.resizing_to(protocol.query_size)
        queries = descriptors.of(of_queries, dataset.queries.paths, config.batch)
        return queries, descriptors.of(model, dataset.database.paths, config.batch)

    output = Path(config.output)
    text = report_places(models, dataset, both_sides, output, config.radius, protocol=protocol)
    truth = ground_truth(protocol, dataset)
    tables = [text]
    for setting, by, measure in _SWEEPS:
        if numbers := _whole_numbers(setting, getattr(config, setting)):
            found = {name: measure(both_sides(model), truth, dataset, numbers) for name, model in models.items()}
            tables.append(write_sweep(output / f"recall_by_{by.replace(' ', '_')}.json", by, found))
    return "\n\n".join(tables)


def _whole_numbers(name: str, given: Sequence[str]) -> list[int]:
    if not all(str(one).isdecimal() for one in given):
        raise ValueError(f"`{name}` must be whole numbers, for example 128,512. Received: {name}={','.join(given)}")
    return [int(one) for one in given]


def chosen_protocol(config: EvaluateConfig) -> Protocol:
    """The rules that the settings name.

    Raises:
        ValueError: the protocol is unknown, or a rule of one's own contradicts it.
    """
    protocol = named_protocol(config.protocol)
    given = [rule for rule in _OWN_RULES if rule in config.given]
    if protocol.name != "own":
        if given:
            flags = ", ".join(f"--{rule}" for rule in given)
            raise ValueError(
                f"`{given[0]}` is a rule of --protocol=own, and {protocol.name} has its own ({protocol.description}): "
                f"leave out {flags}. Received: --protocol={protocol.name}, {flags}"
            )
        return protocol
    # Frames and places stand instead of metres, unless both are asked for.
    instead = (config.frames is not None or config.same_place) and "radius" not in given
    return protocol.changed(
        radius=None if instead else config.radius,
        heading=config.heading,
        frames=config.frames,
        places=config.same_place,
        exclude=tuple(config.exclude),
    )
