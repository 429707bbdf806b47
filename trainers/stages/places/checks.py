"""What `trainers.pitts` checks of the places before it trains, and fits to them."""

from dataclasses import replace
from typing import Any

import numpy as np

from keras_sare.datasets import PlaceDataset, open_splits
from keras_sare.training.data.tuple_checks import check_replicas
from keras_sare.whitening import warn_of_overlap
from trainers.config import PittsConfig
from trainers.stages.checks import check_places, check_whitening, distinct_images
from trainers.stages.fitted import fit_places

WHITENING_IMAGES = 10_000
"""Of the training database, as in NetVLAD."""


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


def check_datasets(
    config: PittsConfig, listed: dict[str, PlaceDataset], replicas: int
) -> tuple[PittsConfig, dict[str, PlaceDataset]]:
    """Leaves out images that cannot be read; the others must suffice, and numbers not given are fitted to them."""
    config = _check_sufficient(config, listed, replicas)  # Before all images are decoded, which takes longer.
    datasets = {name: data.check_images(config.max_corrupt_share) for name, data in listed.items()}
    if any(len(datasets[name].paths) < len(listed[name].paths) for name in listed):
        config = _check_sufficient(config, datasets, replicas)
    return config, datasets


def whitening_sample(config: PittsConfig, images: int) -> np.ndarray:
    """Training database images that whitening is fitted to: int64, ascending."""
    return sample_ids(images, WHITENING_IMAGES, config.seed)


def sample_ids(images: int, count: int, seed: int) -> np.ndarray:
    """At most `count` random ones of so many images: int64, ascending."""
    return np.sort(np.random.default_rng(seed).permutation(images)[:count])


def warn_of_whitened_tests(config: PittsConfig, datasets: dict[str, PlaceDataset]) -> None:
    """Warns of test images among those of whitening. Before training, where there is still something to do about it."""
    if config.whitening == "none":
        return
    train = datasets["train"]
    test = datasets["test"]
    warn_of_overlap(train.database.paths[whitening_sample(config, len(train.database))], test.paths)


def _check_sufficient(config: PittsConfig, datasets: dict[str, PlaceDataset], replicas: int) -> PittsConfig:
    train = datasets["train"]
    check_places(datasets, config.settings())
    config = fit_places(config, train, replicas)
    check_replicas(config.settings(), replicas)
    if config.whitening == "none":
        return config
    sample = whitening_sample(config, len(train.database))
    distinct = distinct_images(train, sample)
    reason = f"{distinct} distinct training database images span no more"
    config = config.lowered("dim", distinct - 1, reason)
    check_whitening(len(sample), distinct, config.dim)
    return config
