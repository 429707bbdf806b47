"""The worked examples of docs/extend do what they say: their code runs as it stands there, once it is registered."""

import re
from pathlib import Path

import pytest

from keras_sare.datasets.places import open_splits
from keras_sare.evaluation.protocols import PROTOCOLS

FOLDER = Path(__file__).parents[1] / "docs" / "extend"


@pytest.fixture
def example(request):
    """Runs the blocks of the document one after the other, and gives the names that they define."""
    names = {"__name__": "example"}
    for block in re.findall(r"```python\n(.*?)```", (FOLDER / f"{request.param}.md").read_text(), re.DOTALL):
        exec(block, names)
    return names


def run_tests(names, *arguments):
    tests = [function for name, function in names.items() if name.startswith("test_")]
    assert tests
    for number, test in enumerate(tests):
        test(*(make(number) for make in arguments))


@pytest.mark.parametrize("example", ["place_dataset"], indirect=True)
def test_place_dataset(example, monkeypatch, tmp_path):
    monkeypatch.setattr(open_splits, "READERS", (*open_splits.READERS, example["VG_BENCHMARK"]))
    run_tests(example, lambda number: tmp_path / str(number))


@pytest.mark.parametrize("example", ["evaluation_protocol"], indirect=True)
def test_evaluation_protocol(example):
    assert example["OTHER_TIMESTAMPS"].stem not in {protocol.stem for protocol in PROTOCOLS}
    run_tests(example)
