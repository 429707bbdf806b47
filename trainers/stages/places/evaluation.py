"""Stages of `trainers.evaluate`: models, dataset, reports."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_sare.datasets import open_dataset, set_max_pixels
from keras_sare.evaluation import report_places
from keras_sare.evaluation.evaluation_record import write_record
from keras_sare.evaluation.measures.sweep_files import write_sweep
from keras_sare.evaluation.measures.sweeps import (
    check_database_sizes,
    recall_by_database_size,
    recall_by_dimension,
    recall_of,
)
from keras_sare.evaluation.protocols import (
    GroundTruth,
    Protocol,
    check_columns,
    counted,
    ground_truth,
    named_protocol,
)
from keras_sare.utils.files import check_writable_folder
from serving.descriptors.descriptor_model import DescriptorModel
from serving.descriptors.open_models import open_models
from serving.descriptors.resumable import DescriptorFiles
from serving.descriptors.stored import StoredDescriptors
from trainers.config import EvaluateConfig
from trainers.stages.photo_memory import photo_memory
from trainers.stages.places.sides import Sides, image_sizes

_SWEEPS = (("dims", "dimension", recall_by_dimension), ("database_sizes", "database size", recall_by_database_size))
_OWN_RULES = ("radius", "heading", "frames", "same_place", "exclude")


def evaluate_models(config: EvaluateConfig) -> str:
    """Evaluates models on a split of a dataset; returns the tables and verdicts, Markdown."""
    set_max_pixels(config.max_pixels)
    output = Path(config.output)
    check_writable_folder(output)
    protocol = chosen_protocol(config)
    for setting, *_ in _SWEEPS:
        _whole_numbers(setting, getattr(config, setting))
    image_sizes(config.image_sizes)
    dataset = open_dataset(config.root, config.split, config.prefix)
    check_columns(protocol, dataset)
    opened = open_models(config.models, config.image_size, config.orientation, config.preset)
    models = {model.name: model for model in opened}
    if config.image_sizes:
        _check_resizable(models)
    if not all(isinstance(model, StoredDescriptors) for model in models.values()):
        dataset = dataset.check_images(config.max_corrupt_share, photo_memory(config.root))
        dataset.warn_of_same_photos()
    dataset = counted(protocol, dataset)
    truth = ground_truth(protocol, dataset)
    if config.database_sizes:  # Before hours are spent.
        check_database_sizes(truth, dataset, _whole_numbers("database_sizes", config.database_sizes))
    sides = Sides(DescriptorFiles(output / "descriptors"), dataset, protocol.query_size, config.batch)
    tables = [report_places(models, dataset, sides.of, output, protocol)]
    tables += _sweeps(config, models, sides, truth)
    settings = {name: getattr(config, name) for name in config.names}
    write_record(output, protocol, settings, sides.stages)
    return "\n\n".join(tables)


def _sweeps(
    config: EvaluateConfig, models: Mapping[str, DescriptorModel], sides: Sides, truth: GroundTruth
) -> list[str]:
    """Recall against each number that was asked for: tables, Markdown."""
    tables = []
    output = Path(config.output)
    for setting, by, measure in _SWEEPS:
        if numbers := _whole_numbers(setting, getattr(config, setting)):
            found = {name: measure(sides.of(model), truth, sides.dataset, numbers) for name, model in models.items()}
            tables.append(write_sweep(output / f"recall_by_{by.replace(' ', '_')}.json", by, found))
    if sizes := image_sizes(config.image_sizes):
        by_size = {
            name: {text: recall_of(sides.of(model, size, text), truth, sides.dataset) for text, size in sizes.items()}
            for name, model in models.items()
        }
        tables.append(write_sweep(output / "recall_by_image_size.json", "image size", by_size))
    return tables


def _check_resizable(models: Mapping[str, DescriptorModel]) -> None:
    """Checks, before hours are spent, that images can be resized for all models."""
    if fixed := [name for name, model in models.items() if model.reading is None]:
        raise ValueError(
            "`image_sizes` needs models that images are resized for here: leave it out, or the stored descriptors, "
            f"servers and SavedModels. Received: {', '.join(fixed)}"
        )


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
