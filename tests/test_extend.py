"""The worked examples of docs/extend do what they say: their code runs as it stands there, once it is registered."""

import re
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from export.formats import FORMATS
from keras_sare.datasets.places import open_splits
from keras_sare.evaluation.protocols import NAMED, PROTOCOLS
from keras_sare.losses import LOSSES
from keras_sare.models import BACKBONES

FOLDER = Path(__file__).parents[1] / "docs" / "extend"


@pytest.fixture
def example(request):
    return run_blocks(request.param)


def run_blocks(document):
    """Runs the blocks of a document one after the other, and gives the names that they define."""
    names = {"__name__": "example"}
    for block in re.findall(r"```python\n(.*?)```", (FOLDER / f"{document}.md").read_text(), re.DOTALL):
        exec(block, names)
    return names


def run_tests(names, *arguments):
    tests = [function for name, function in names.items() if name.startswith("test_")]
    assert tests
    for number, test in enumerate(tests):
        test(*(make(number) for make in arguments))


@pytest.mark.parametrize("example", ["place_dataset"], indirect=True)
def test_place_dataset(example, monkeypatch, tmp_path):
    monkeypatch.setattr(open_splits, "READERS", (*open_splits.READERS, example["MSLS"]))
    run_tests(example, lambda number: tmp_path / str(number))


@pytest.mark.parametrize("example", ["evaluation_protocol"], indirect=True)
def test_evaluation_protocol(example):
    assert example["EYNSHAM"].name not in NAMED
    assert example["OTHER_TIMESTAMPS"].stem not in {protocol.stem for protocol in PROTOCOLS}
    run_tests(example)


@pytest.fixture
def registered():
    """Takes out again what an example enters into the losses."""
    before = dict(LOSSES)
    yield
    LOSSES.clear()
    LOSSES.update(before)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("example", ["loss"])
def test_loss(example):
    run_tests(run_blocks(example))


@pytest.mark.parametrize("example", ["backbone"], indirect=True)
def test_backbone(example):
    assert set(example["SIDES"]).isdisjoint(BACKBONES)
    backbone = example["BACKBONE"]
    [side] = example["SIDES"].values()
    network = backbone.network(keras.Input((320, 320, 3)))
    for cut, expected in zip((backbone.cuts.fine, backbone.cuts.deep, backbone.cuts.pooled), side, strict=True):
        assert network.get_layer(cut.layer).output.shape == (None, expected, expected, cut.channels)


@pytest.mark.parametrize("example", ["export_format"], indirect=True)
def test_export_format(example, monkeypatch, tmp_path):
    monkeypatch.setitem(FORMATS, example["FORMAT"].name, example["FORMAT"])
    # The process of an artefact would not know the example, and this one has begun to compute.
    example["Runtime"] = Here
    example["import_tensorflow"] = lambda threads: tf
    run_tests(example, lambda number: tmp_path)


class Here:
    """Loads an artefact as its format does, in this process."""

    def __init__(self, kind, path):
        self.extract = FORMATS[kind].load(str(path), 1)[0]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass
