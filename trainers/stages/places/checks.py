"""What `trainers.pitts` checks of the places before it trains, and fits to them."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from keras_sare.datasets import PlaceDataset, open_splits
from keras_sare.datasets.checks.finding import ERROR, Finding, log_findings
from keras_sare.datasets.checks.lists import check_lists
from keras_sare.training.data.tuple_checks import check_replicas
from keras_sare.whitening import warn_of_overlap
from trainers.config import PittsConfig
from trainers.stages.checks import check_whitening, distinct_images
from trainers.stages.fitted import fit_places, whitening_images
from trainers.stages.photo_memory import photo_memory
from trainers.stages.places.whitening import CHOSEN_BY_VALIDATION

WHITENING_IMAGES = 10_000
"""At most, as in NetVLAD."""


def list_datasets(config: PittsConfig) -> dict[str, PlaceDataset]:
    """Reads the lists, not the images; settings say what positives are where they are given."""
    datasets = open_splits(config.root, config.prefix)
    if missing := {"train", "val", "test"} - datasets.keys():
        raise ValueError(
            f"`root` must hold the splits train, val and test. Received: {config.root!r} without {missing}"
        )
    rules: dict[str, Any] = {"min_positive": config.min_positive, "other_timestamps": config.other_timestamps}
    given = {name: value for name, value in rules.items() if value is not None}
    return {name: replace(data, **given) for name, data in datasets.items()}


def headings_rule(config: PittsConfig, train: PlaceDataset) -> str:
    """What `positive_heading` asks of training positives, in words; nothing where no heading is known.

    Raises:
        ValueError: it was given, and a side of the dataset knows no heading.
    """
    degrees = config.positive_heading
    if degrees is None:
        return ""
    sides = {"database": train.database, "queries": train.queries}
    unknown = [name for name, side in sides.items() if side.headings is None or np.isnan(side.headings).all()]
    if unknown and "positive_heading" in config.given:
        raise ValueError(
            "`positive_heading` needs headings on both sides: add a column `heading`, degrees clockwise from north, to "
            f"places.csv, or leave it out. Received: no heading in {train.name!r}, {' and '.join(unknown)}"
        )
    return "" if unknown else f", headings within {degrees:g} degrees"


def check_datasets(
    config: PittsConfig, listed: dict[str, PlaceDataset], replicas: int
) -> tuple[PittsConfig, dict[str, PlaceDataset]]:
    """Leaves out images that cannot be read; the others must suffice, and numbers not given are fitted to them.

    What `trainers.doctor` finds without decoding comes first: warnings are logged, and errors stop the run.
    """
    findings = quick_findings(config, listed)
    # Files that are missing and few are named with those that cannot be read.
    log_findings(one for one in findings if one.level != ERROR and one.kind != "missing")
    stop_at_errors(config.root, findings)
    config = _check_sufficient(config, listed["train"], replicas)  # Before all images are decoded, which takes longer.
    memory = photo_memory(config.root)
    datasets = {name: data.check_images(config.max_corrupt_share, memory) for name, data in listed.items()}
    if any(len(datasets[name].paths) < len(listed[name].paths) for name in listed):
        stop_at_errors(config.root, quick_findings(config, datasets))
        config = _check_sufficient(config, datasets["train"], replicas)
    return config, datasets


def quick_findings(config: PittsConfig, datasets: dict[str, PlaceDataset]) -> list[Finding]:
    """What can be said of the places without decoding an image, by the radii of the run."""
    # Where database images are queries too, those of the training need none.
    within = None if config.database_queries else config.positive_radius
    return check_lists(datasets, config.negative_radius, within, config.max_corrupt_share)


def stop_at_errors(root: str, findings: Iterable[Finding]) -> None:
    """Ends a start where something would break the run, or make its numbers meaningless.

    Raises:
        ValueError: there is an error; where there are several, each is logged.
    """
    errors = [one for one in findings if one.level == ERROR]
    if len(errors) == 1:
        raise ValueError(f"{errors[0]} (python -m trainers.doctor --root={root} says more.)")
    if errors:
        log_findings(errors)
        kinds = ", ".join(dict.fromkeys(one.kind for one in errors))
        raise ValueError(
            f"`root` must hold a dataset without errors; the {len(errors)} above are to be mended ({kinds}). "
            f"python -m trainers.doctor --root={root} says more. Received: root={root!r}"
        )


def whitening_sample(config: PittsConfig, train: PlaceDataset) -> np.ndarray:
    """Training images that whitening is fitted to: int64 ids, ascending.

    Of the database; of both sides where both are trained on, for small sets: more images, more directions.
    """
    return sample_ids(whitening_images(config, train), WHITENING_IMAGES, config.seed)


def candidate_dims(config: PittsConfig) -> tuple[int, ...]:
    """Dimensions among which validation chooses, largest first; the asked one alone where nothing is to be chosen."""
    if config.whitening not in CHOSEN_BY_VALIDATION:
        return (config.dim,)
    return tuple(dict.fromkeys(max(1, config.dim // share) for share in (1, 2, 4)))


def sample_ids(images: int, count: int, seed: int) -> np.ndarray:
    """At most `count` random ones of so many images: int64, ascending."""
    return np.sort(np.random.default_rng(seed).permutation(images)[:count])


def warn_of_whitened_tests(config: PittsConfig, datasets: dict[str, PlaceDataset]) -> None:
    """Warns of test images among those of whitening. Before training, where there is still something to do about it."""
    if config.whitening == "none":
        return
    train = datasets["train"]
    test = datasets["test"]
    warn_of_overlap(train.paths[whitening_sample(config, train)], test.paths)


def _check_sufficient(config: PittsConfig, train: PlaceDataset, replicas: int) -> PittsConfig:
    config = fit_places(config, train, replicas)
    check_replicas(config.settings(), replicas)
    if config.whitening == "none":
        return config
    sample = whitening_sample(config, train)
    distinct = distinct_images(train, sample)
    reason = f"{distinct} distinct training images span no more"
    config = config.lowered("dim", distinct - 1, reason)
    check_whitening(len(sample), distinct, config.dim)
    return config
