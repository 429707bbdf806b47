"""Whether photos of one 3D model, and of different clusters, agree with labels of what they show."""

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from keras_sare.datasets.sfm.sfm_dataset import SfMDataset

_LABEL_COLUMNS = ("label", "building")
# Of a photo's points: from so many in common on, two photos are a positive pair of the paper's rule m3.
_OVERLAP = 0.2
# Pairs of models that are compared at a time.
_BLOCK = 1 << 20

Labels = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class LabelAgreement:
    """How 3D models and clusters agree with labels. Shares are in 0..1, and nan where there is nothing to count.

    A photo's main label is the one with the largest share of the picture.

    Attributes:
        labelled: photos of the dataset that have a label.
        model_purity: share of them whose main label is the most frequent one of their model.
        cluster_purity: the same of their cluster.
        positive_agreement: share of the pairs of photos that see a fifth of the same points, that have any label in
            common.
        models_apart: pairs of models of different clusters.
        false_models_apart: those of them that have a main label in common.
        photos_apart: pairs of photos of different clusters.
        false_photos_apart: those of them that have their main label in common: false negatives.
    """

    labelled: int
    model_purity: float
    cluster_purity: float
    positive_agreement: float
    models_apart: int
    false_models_apart: int
    photos_apart: int
    false_photos_apart: int


def read_image_labels(path: str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """Reads a CSV file of what photos show.

    Args:
        path: columns `image`, `label` (or `building`) and, where a photo shows several, `share` of the picture, a row
            for each label of a photo. Other columns are ignored.

    Returns:
        By image: the share of each label, 1 where none is given.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column or a value is missing, or a share is no number.
    """
    labels: dict[str, dict[str, float]] = {}
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        column = next((name for name in _LABEL_COLUMNS if name in columns), None)
        if column is None or "image" not in columns:
            raise ValueError(f"`path` must have the columns image and label. Received: path={path} with {columns}")
        for number, row in enumerate(reader, start=2):
            try:
                share = float(row.get("share") or 1)
                shown = labels.setdefault(row["image"], {})
                shown[row[column]] = max(share, shown.get(row[column], 0.0))
            except (ValueError, TypeError) as error:
                raise ValueError(f"Row {number} of `path` must give a share as a number. Received: {row}") from error
    return labels


def label_agreement(dataset: SfMDataset, names: np.ndarray, labels: Labels) -> LabelAgreement:
    """Compares 3D models and clusters with labels.

    Args:
        dataset: photos of 3D models.
        names: [N] of its photos, as the labels name them.
        labels: from `read_image_labels`. Photos without a label are ignored.

    Raises:
        ValueError: no photo has a label.
    """
    labelled = np.array([bool(labels.get(name)) for name in names.tolist()])
    if not labelled.any():
        raise ValueError(
            "`labels` must name photos of the dataset, as paths from their folder. "
            f"Received: {len(labels)} labelled images, none of the {len(names)} photos, such as {names[0]}"
        )
    dataset = dataset.subset(np.flatnonzero(labelled))
    names = names[labelled]
    codes = {label: code for code, label in enumerate(sorted({one for shown in labels.values() for one in shown}))}
    main = np.array([codes[max(labels[name], key=labels[name].__getitem__)] for name in names.tolist()])
    return LabelAgreement(
        int(labelled.sum()),
        _purity(dataset.models, main),
        _purity(dataset.clusters, main),
        _positive_agreement(dataset, [set(labels[name]) for name in names.tolist()]),
        *_models_apart(dataset, main),
        *_photos_apart(dataset.clusters, main),
    )


def _purity(groups: np.ndarray, main: np.ndarray) -> float:
    pairs, counts = np.unique(np.stack([groups, main], axis=1), axis=0, return_counts=True)
    starts = np.unique(pairs[:, 0], return_index=True)[1]
    return int(np.maximum.reduceat(counts, starts).sum()) / len(main)


def _positive_agreement(dataset: SfMDataset, shown: list[set[str]]) -> float:
    """Counts what `keras_sare.mining.PositiveRule` by default allows as m3, less its limit of the scale.

    A fifth is its `min_overlap`; this package may not import that one.
    """
    if dataset.points is None:
        return float("nan")
    agree = count = 0
    order = np.argsort(dataset.models, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(dataset.models[order])) + 1):
        observed = [dataset.points_of(row) for row in rows.tolist()]
        counts = np.array([len(points) for points in observed])
        distinct, points = np.unique(np.concatenate(observed), return_inverse=True)
        starts = np.concatenate([[0], np.cumsum(counts)])
        seen = csr_array((np.ones(len(points), np.int32), points, starts), shape=(len(rows), len(distinct)))
        shared = (seen @ seen.T).tocoo()
        enough = (shared.row != shared.col) & (shared.data >= _OVERLAP * counts[shared.row])
        pairs = zip(rows[shared.row[enough]].tolist(), rows[shared.col[enough]].tolist(), strict=True)
        agreements = [bool(shown[first] & shown[second]) for first, second in pairs]
        agree = agree + sum(agreements)
        count = count + len(agreements)
    return agree / count if count else float("nan")


def _models_apart(dataset: SfMDataset, main: np.ndarray) -> tuple[int, int]:
    """Pairs of models of different clusters, and those of them that have a main label in common."""
    models, first, index = np.unique(dataset.models, return_index=True, return_inverse=True)
    clusters = dataset.clusters[first]
    shows = csr_array((np.ones(len(main), np.int32), (index, main)), shape=(len(models), main.max() + 1))
    false = 0
    step = max(1, _BLOCK // len(models))
    for start in range(0, len(models), step):
        alike = (shows[start : start + step] @ shows.T).tocoo()
        false += int((clusters[start + alike.row] != clusters[alike.col]).sum())
    # Each pair was met in both orders.
    return _pairs_within(np.array([len(models)])) - _pairs_within(_group_sizes(clusters)), false // 2


def _photos_apart(clusters: np.ndarray, main: np.ndarray) -> tuple[int, int]:
    """Pairs of photos of different clusters, and those of them that have their main label in common."""
    apart = _pairs_within(np.array([len(main)])) - _pairs_within(_group_sizes(clusters))
    return apart, _pairs_within(_group_sizes(main)) - _pairs_within(_group_sizes(clusters, main))


def _group_sizes(*keys: np.ndarray) -> np.ndarray:
    """How many elements have each combination of keys."""
    return np.unique(np.stack(keys, axis=1), axis=0, return_counts=True)[1]


def _pairs_within(sizes: np.ndarray) -> int:
    """Pairs of elements of the same group."""
    return int((sizes * (sizes - 1)).sum()) // 2
