import dataclasses
import hashlib
import json
import runpy
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pytest

import keras_sare
from export.fidelity.fidelity import Fidelity
from export.manifest import is_of, manifest, manifest_path, write_manifest
from export.source import open_source

KERAS = runpy.run_path(str(Path(__file__).parents[1] / "data" / "fidelity_rows.py"))["KERAS"]
ROW = dataclasses.replace(KERAS, artefact="tflite/float16.tflite", kind="tflite", recalls=(0.5, 0.7, 0.75))


@pytest.fixture(scope="module")
def source(finished_run):
    return open_source(run=str(finished_run))


@pytest.fixture
def artefact(tmp_path):
    path = tmp_path / "float16.tflite"
    path.write_bytes(b"abc")
    return path


def describe(source, path, **extra):
    return manifest(source, "tflite", path, "float16.tflite", ROW, extra)


def test_artefact_is_named_with_its_size_and_its_digest(source, artefact):
    contents = describe(source, artefact)
    assert (contents["kind"], contents["name"], contents["bytes"]) == ("tflite", "float16.tflite", 3)
    assert contents["sha256"] == hashlib.sha256(b"abc").hexdigest()


def test_model_and_its_preprocessing_are_described(source, artefact, finished_run):
    contents = describe(source, artefact)
    assert contents["model"] == {
        "name": "small_mac",
        "origin": str(finished_run),
        "dim": 8,
        "parameters": 3 * 9 * 16 + 16 + 16 * 8 + 8 + 16,
        "weights_sha256": source.weights_digest,
    }
    assert contents["preprocessing"] == {
        "input": "RGB, 0 to 255, float32",
        "orientation": "stored",
        "resize": {"height": 24, "width": 32, "filter": "bilinear, antialiased", "antialias": True},
        "inside": {"channels": "BGR", "mean": [103.9, 116.8, 123.7], "std": [1.0, 1.0, 1.0]},
    }


def test_limit_of_the_longer_side_is_described(finished_run, artefact):
    contents = describe(open_source(run=str(finished_run), size=1024), artefact)
    assert contents["preprocessing"]["resize"]["longer_side"] == 1024
    assert contents["evaluation"] is None


def test_recall_of_the_run_stands_with_its_protocol(source, artefact):
    assert describe(source, artefact)["evaluation"] == {
        "trained, whitened to 8-D": {
            "protocol": "recall@N within 25 m",
            "dataset": "town_test",
            "queries": 20,
            "database": 30,
            "recall@1": 0.5,
            "recall@5": 0.75,
            "recall@10": 0.9,
        }
    }


def test_tables_of_retrieval_stand_with_their_settings(source, artefact):
    report = {"dataset": "toy", "mean_average_precision": 0.6, "ks": [], "precisions": []}
    table = {"reports": {"fine-tuned": {"classic": report}}, "settings": {"longer_side": 64}, "notes": []}
    other = type(source)(source.model, 64, source.name, source.origin, {}, {"toy": table})
    assert describe(other, artefact)["evaluation"] == {
        "toy": {"settings": {"longer_side": 64}, "mean_average_precision": {"fine-tuned": {"classic": 0.6}}}
    }


def test_versions_are_those_of_the_packages_that_made_the_artefact(source, artefact):
    versions = describe(source, artefact)["versions"]
    assert versions["keras_sare"] == keras_sare.__version__
    assert versions["tensorflow"] == metadata.version("tensorflow")
    assert versions["ai-edge-litert"] == metadata.version("ai-edge-litert")
    assert "onnx" not in versions


def test_date_is_now_in_universal_time(source, artefact):
    created = datetime.fromisoformat(describe(source, artefact)["created"])
    assert created.utcoffset().total_seconds() == 0
    assert abs((datetime.now(UTC) - created).total_seconds()) < 60


def test_file_beside_the_artefact_holds_all_in_a_fixed_order(source, artefact, tmp_path):
    contents = describe(source, artefact, variant="float16", fixed_size=False)
    write_manifest(artefact, contents)
    stored = json.loads((tmp_path / "float16.json").read_text())
    assert stored == contents
    assert list(stored)[:7] == ["kind", "name", "bytes", "sha256", "created", "model", "preprocessing"]
    assert list(stored)[7:] == ["variant", "fixed_size", "evaluation", "fidelity", "versions"]
    assert Fidelity.from_json(json.dumps(stored["fidelity"])) == ROW
    assert sorted(path.name for path in tmp_path.iterdir()) == ["float16.json", "float16.tflite"]


def test_manifest_of_a_version_lies_beside_its_folder(tmp_path):
    assert manifest_path(tmp_path / "saved_model" / "3") == tmp_path / "saved_model" / "3.json"


def test_manifest_is_of_the_model_and_size_that_it_was_made_of_only(source, artefact, finished_run):
    contents = json.loads(json.dumps(describe(source, artefact)))
    assert is_of(contents, source)
    assert not is_of(contents, open_source(run=str(finished_run), size=64))
    assert not is_of(contents, open_source(run=str(finished_run), dim=3))
