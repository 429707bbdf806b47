"""Sets of places that the models of a grid are measured on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from keras_sare.datasets import PlaceDataset, open_dataset
from keras_sare.evaluation.protocols import Protocol, check_columns, named_protocol
from trainers.config import AblationConfig, PittsConfig
from trainers.stages.photo_memory import photo_memory

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class MeasuredSet:
    """A split of a dataset, and the rule that counts on it.

    Attributes:
        name: in tables.
        root: folder of the dataset.
        split: of it.
        protocol: name of the rule, one of `keras_sare.evaluation.protocols.NAMED`.
        is_home: whether the models were trained on the dataset: it then has their settings' radius, prefix and rules.
    """

    name: str
    root: str
    split: str
    protocol: str = "own"
    is_home: bool = field(default=False, kw_only=True)

    def open(self, config: PittsConfig) -> PlaceDataset:
        """Reads the lists.

        Args:
            config: of the run whose models are measured.

        Raises:
            FileNotFoundError: there is no such dataset.
            ValueError: there is no such split, or it lacks what the rule asks for.
        """
        dataset = open_dataset(self.root, self.split, config.prefix if self.is_home else "")
        rules: dict[str, Any] = {"other_timestamps": config.other_timestamps} if self.is_home else {}
        dataset = replace(dataset, **{name: value for name, value in rules.items() if value is not None})
        check_columns(self.rule(config), dataset)
        return dataset

    def open_photos(self, config: PittsConfig) -> PlaceDataset:
        """The same without photos that cannot be read."""
        return self.open(config).check_images(config.max_corrupt_share, photo_memory(self.root))

    def rule(self, config: PittsConfig) -> Protocol:
        """What counts as found."""
        protocol = named_protocol(self.protocol)
        return protocol.changed(radius=config.negative_radius) if self.is_home else protocol


def sets_of(config: AblationConfig) -> list[MeasuredSet]:
    """All sets that an ablation measures on: validation, where asked for the test, and others.

    Raises:
        ValueError: as of `read_sets`.
    """
    splits = ["val", "test"] if config.test else ["val"]
    return [*(MeasuredSet(one, config.root, one, is_home=True) for one in splits), *read_sets(config.measure_on)]


def read_sets(measure_on: Sequence[str]) -> list[MeasuredSet]:
    """Reads sets that the models were not trained on.

    Args:
        measure_on: each NAME=FOLDER:SPLIT or NAME=FOLDER:SPLIT:PROTOCOL.

    Raises:
        ValueError: one is nothing like that, or has a name that is taken; or its rule cannot be used here.
    """
    sets: list[MeasuredSet] = []
    for text in measure_on:
        name, _, rest = text.partition("=")
        root, *parts = rest.rsplit(":", min(2, rest.count(":")))
        if not (_NAME.fullmatch(name) and root and parts and all(parts)):
            raise ValueError(
                "`measure_on` must be NAME=FOLDER:SPLIT or NAME=FOLDER:SPLIT:PROTOCOL, with a name of letters, digits, "
                f"_, - and ., at most 64. Received: measure_on={text!r}"
            )
        if name in ("val", "test", *(one.name for one in sets)):
            raise ValueError(f"`measure_on` must name each set once, none val or test. Received: {name!r} twice")
        one = MeasuredSet(name, root, parts[0], *parts[1:])
        rule = named_protocol(one.protocol)
        if rule.query_size is not None or rule.skips_without_positive:
            raise ValueError(
                "`measure_on` must have a rule by which all queries count and are resized as the database is. "
                f"Received: {one.protocol} ({rule.description})"
            )
        sets.append(one)
    return sets
