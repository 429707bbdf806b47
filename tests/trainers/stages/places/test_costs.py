import itertools

import pytest

from keras_sare.datasets.checks.finding import NOTE, WARNING
from trainers.stages.places import costs

PITTS30K = {"train": (10000, 7416), "val": (10000, 7608), "test": (10000, 6816)}


@pytest.fixture(autouse=True)
def one_convolution_a_second(monkeypatch):
    seconds = itertools.count()
    monkeypatch.setattr(costs.time, "perf_counter", lambda: float(next(seconds)))


def test_time_disk_and_memory_of_a_training_follow_from_its_images(tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "free_bytes", lambda folder: 200e9)
    found = costs.estimate_costs(PITTS30K, tmp_path)
    # VGG16 takes 188 GFLOP for 480 x 640 pixels, and one convolution 1.42: 51 840 images take 1912 h.
    assert "at 480 x 640" in found.message
    assert "1912.0 h to describe all 51840 images once" in found.message
    # 8 refreshes of 17 416 images, 17 608 of validation and 7416 x 12 images trained, in a tenth of the network.
    assert "1415.8 h an epoch" in found.message
    assert "68 GB of disk (200 GB are free" in found.message
    assert "5 GB of memory" in found.message
    assert found.level == NOTE


def test_disk_that_is_too_small_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "free_bytes", lambda folder: 50e9)
    found = costs.estimate_costs(PITTS30K, tmp_path)
    assert found.level == WARNING
    assert "--store" in found.advice


def test_an_evaluation_needs_its_images_described_once(tmp_path):
    found = costs.estimate_costs({"test": PITTS30K["test"]}, tmp_path)
    assert (found.where, found.level) == ("an evaluation", NOTE)
    assert "to describe all 16816 images" in found.message
    assert "epoch" not in found.message
