"""Recall against dimension and database size, of descriptors whose numbers are known by other ways."""

import dataclasses
import json

import numpy as np
import pytest

from keras_sare.datasets import ImageSet, PlaceDataset
from keras_sare.evaluation import evaluate
from keras_sare.evaluation.measures import sweeps
from keras_sare.evaluation.measures.sweep_files import write_sweep
from keras_sare.evaluation.measures.sweeps import recall_by_database_size, recall_by_dimension
from keras_sare.evaluation.protocols import ground_truth, named_protocol

DIM = 16


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def street(monkeypatch):
    """Forty places of the queries and 160 others; components fall in size, as after a whitening."""
    monkeypatch.setattr(sweeps, "BLOCK_ROWS", 7)
    rng = np.random.default_rng(1)
    images = rng.standard_normal((200, DIM)) / np.arange(1, DIM + 1)
    queries = images[:40] + 0.3 * rng.standard_normal((40, DIM)) / np.arange(1, DIM + 1)
    at = np.stack([100.0 * np.arange(200), np.zeros(200)], axis=1)
    database = ImageSet([f"{i}_012_000.png" for i in range(200)], at)
    dataset = PlaceDataset("street", database, ImageSet([f"q{i}" for i in range(40)], at[:40] + 3))
    truth = ground_truth(named_protocol("pitts30k"), dataset)
    return (unit(queries), unit(images)), truth, dataset


def test_shorter_descriptors_are_the_first_components_normalised_anew(street):
    sides, truth, dataset = street
    found = recall_by_dimension(*street, [DIM, 2, 5])
    assert list(found) == [2, 5, DIM]
    for dim, report in found.items():
        cut = (unit(side[:, :dim]) for side in sides)
        expected, _ = evaluate(*cut, truth.positives, protocol=truth.protocol, dataset=dataset.name)
        assert report == expected
    assert found[2].at(1) < found[DIM].at(1)


def test_smaller_database_keeps_what_is_right(street):
    sides, truth, dataset = street
    found = recall_by_database_size(*street, [200, 40, 90])
    assert list(found) == [40, 90, 200]
    assert [report.database for report in found.values()] == [40, 90, 200]
    assert all(report.queries_without_positive == 0 for report in found.values())
    assert found[40].at(1) == evaluate(sides[0], sides[1][:40], truth.positives, ns=(1,))[0].at(1)
    assert found[200].at(1) == evaluate(*sides, truth.positives, ns=(1,))[0].at(1)
    assert found[40].at(1) >= found[90].at(1) >= found[200].at(1)


def test_what_is_excluded_stays_so_in_a_smaller_database(street):
    sides, truth, dataset = street
    nothing = np.zeros(0, np.int64)
    strict = dataclasses.replace(
        truth, exclude=[np.array([0, 199]), *[nothing] * 39], groups=np.arange(200, dtype=np.int64) // 2
    )
    report = recall_by_database_size(sides, strict, dataset, [40])[40]
    groups = np.arange(40, dtype=np.int64) // 2
    exclude = [np.array([0]), *[nothing] * 39]
    expected, _ = evaluate(sides[0], sides[1][:40], truth.positives, ns=(1, 5), exclude=exclude, groups=groups)
    assert (report.at(1), report.at(5)) == expected.recalls
    assert report.queries_without_positive == 1


def test_numbers_out_of_range_are_refused(street):
    with pytest.raises(ValueError, match=r"`dims` must be from 1 to 16, .*dims=\(4, 17\)"):
        recall_by_dimension(*street, (4, 17))
    with pytest.raises(
        ValueError, match=r"`database_sizes` must be from 40, the number of positives, to 200.*database_sizes=\(39,\)"
    ):
        recall_by_database_size(*street, (39,))


def test_sweeps_are_kept_with_their_protocol(street, tmp_path):
    table = write_sweep(tmp_path / "s.json", "dimension", {"model": recall_by_dimension(*street, [4, 8])})
    assert table.startswith("| street, pitts30k: recall@N within 25 m | dimension | recall@1 | recall@5 | recall@10 |")
    stored = json.loads((tmp_path / "s.json").read_text())
    assert stored["model"]["8"]["protocol"] == "pitts30k: recall@N within 25 m"
