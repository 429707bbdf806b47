"""Positives, recall and mAP of random descriptors on real geometry, to the last digit as public code finds them.

The stored numbers are of tests/data/make_evaluation_oracle.py, which runs the VG benchmark, OpenIBL and mapillary_sls.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_sare.datasets import read_dbstruct
from keras_sare.evaluation.measures.measured import Measured
from keras_sare.evaluation.protocols import ground_truth, named_protocol

DATA = Path(__file__).parents[2] / "data"
ORACLE = json.loads((DATA / "evaluation_oracle.json").read_text())


@pytest.fixture
def measure(real_data, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(DATA), *sys.path])
    from evaluation_geometry import descriptors

    def measure(name, protocol):
        dataset = read_dbstruct(real_data / "positions" / f"{name}.mat", "/nowhere")
        truth = ground_truth(named_protocol(protocol), dataset)
        sides = descriptors(name, dataset.queries.positions, dataset.database.positions)
        measured = Measured(truth.protocol, "recall", truth.positives, truth.exclude, truth.groups)
        measured.measure("random", sides, dataset)
        return truth, measured

    return measure


@pytest.mark.parametrize(
    ("name", "protocol", "peers"),
    [
        ("pitts30k_test", "pitts30k", ["benchmark", "mapillary_sls"]),
        ("tokyo247", "tokyo247_openibl", ["openibl"]),
        ("tokyo247", "tokyo247_benchmark", ["benchmark"]),
    ],
)
def test_public_code_finds_the_same(measure, name, protocol, peers):
    truth, measured = measure(name, protocol)
    report = measured.reports["random"]
    for theirs in (ORACLE[name][peer] for peer in peers):
        # Some divide by hundred, or add shares: the number of queries is what must agree.
        found = [round(report.at(n) * report.queries) for n in theirs["ns"]]
        assert found == [round(recall * report.queries) for recall in theirs["recalls"]]
        np.testing.assert_allclose([report.at(n) for n in theirs["ns"]], theirs["recalls"], rtol=1e-15)
        if "positives" in theirs:
            assert truth.positives.counts.sum() == theirs["positives"]
        if "fewest" in theirs:
            assert truth.positives.counts.min() == theirs["fewest"]
        for n, expected in zip(theirs["ns"], theirs.get("maps", []), strict=False):
            if n in measured.answers["random"].map_ns:
                values = measured.answers["random"].average_precisions[:, measured.answers["random"].map_ns.index(n)]
                assert values.mean() == pytest.approx(expected, rel=1e-14)


def test_keeping_one_image_a_panorama_matters_here():
    alike, best = (ORACLE["tokyo247"][peer]["recalls"] for peer in ("benchmark", "openibl"))
    assert best[3] > alike[3]
