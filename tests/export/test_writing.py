import dataclasses
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from export.fidelity.fidelity import Requirements
from export.formats.format import Artefact
from export.source import Source
from export.writing import claim, measured, write_artefacts
from keras_sare.utils.digests import path_digest

ROWS = runpy.run_path(str(Path(__file__).parents[1] / "data" / "fidelity_rows.py"))
KERAS = dataclasses.replace(ROWS["KERAS"], ns=(1, 5), recalls=(0.6, 0.7), keras_recalls=(0.6, 0.7))
COSINES = {"good": 0.999, "worse": 0.95, "bad": 0.5}


class Meter:
    """Stands in for the one that starts processes: the content of a file says how good it is."""

    def __init__(self):
        self.rows = [KERAS]

    def measure(self, artefact, kind, path):
        cosine = COSINES[path.read_text()]
        self.rows.append(
            dataclasses.replace(KERAS, artefact=artefact, kind=kind, cosine_min=cosine, recalls=(0.5, 0.7))
        )
        return self.rows[-1]


@pytest.fixture(scope="module")
def source(whitened_model):
    return Source(whitened_model, (24, 32), "small_mac", "test")


def tflite(name, content):
    return Artefact(
        "tflite", f"tflite/{name}.tflite", lambda path: path.write_text(content), lambda _: {"variant": name}
    )


def failing(error):
    def write(path):
        path.write_text("half")
        raise error

    return Artefact("keras", "keras/model.keras", write)


def write(source, output, *artefacts, cosine=0.9, recall_drop=None):
    return write_artefacts(artefacts, source, output, Meter(), Requirements(cosine, recall_drop))


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_artefact_appears_with_its_manifest(source, tmp_path):
    assert write(source, tmp_path, tflite("float16", "good")) == ([], [])
    assert files(tmp_path) == ["tflite/float16.json", "tflite/float16.tflite"]
    contents = json.loads((tmp_path / "tflite" / "float16.json").read_text())
    assert (contents["name"], contents["variant"]) == ("float16.tflite", "float16")
    assert contents["sha256"] == path_digest(tmp_path / "tflite" / "float16.tflite")
    assert contents["fidelity"]["cosine_min"] == 0.999


def test_artefact_that_falls_short_does_not_appear_and_the_others_do(source, tmp_path):
    rejected, messages = write(source, tmp_path, tflite("a", "good"), tflite("b", "bad"), tflite("c", "worse"))
    assert files(tmp_path) == ["tflite/a.json", "tflite/a.tflite", "tflite/c.json", "tflite/c.tflite"]
    assert [(row.artefact, row.cosine_min) for row in rejected] == [("tflite/b.tflite (not written)", 0.5)]
    assert len(messages) == 1
    assert messages[0].startswith(f"Not written: {tmp_path / 'tflite' / 'b.tflite'}. ")
    assert "cosine=0.500000, 0.400000 too low" in messages[0]


def test_lost_recall_keeps_an_artefact_from_appearing_too(source, tmp_path):
    _, [message] = write(source, tmp_path, tflite("a", "good"), recall_drop=2)
    assert "recall_drop=10.00" in message
    assert "8.00 points too many" in message
    assert files(tmp_path) == []


def test_artefact_that_falls_short_leaves_the_earlier_one_as_it_was(source, tmp_path):
    write(source, tmp_path, tflite("a", "good"))
    before = {name: (tmp_path / name).read_text() for name in files(tmp_path)}
    write(source, tmp_path, tflite("a", "bad"))
    assert {name: (tmp_path / name).read_text() for name in files(tmp_path)} == before


@pytest.mark.parametrize(
    "error",
    [
        ImportError("no onnx"),
        ValueError("too large"),
        OSError("disk full"),
        tf.errors.InvalidArgumentError(None, None, "no such shape"),
        Exception("as converters raise"),
    ],
)
def test_artefact_that_cannot_be_made_is_told_and_the_others_are_written(source, tmp_path, error, caplog):
    rejected, messages = write(source, tmp_path, failing(error), tflite("a", "good"))
    assert (rejected, messages) == ([], [f"Not written: {tmp_path / 'keras/model.keras'}. {error}"])
    assert files(tmp_path) == ["tflite/a.json", "tflite/a.tflite"]
    assert "Traceback" in caplog.text


def test_interrupt_ends_all(source, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(source, tmp_path, failing(KeyboardInterrupt()), tflite("a", "good"))
    assert files(tmp_path) == []


def test_kill_between_artefact_and_manifest_leaves_no_manifest_of_another_artefact(source, tmp_path, monkeypatch):
    write(source, tmp_path, tflite("a", "good"))

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("export.writing.write_manifest", killed)
    with pytest.raises(KeyboardInterrupt):
        write(source, tmp_path, tflite("a", "worse"))
    assert files(tmp_path) == ["tflite/a.tflite"]
    assert (tmp_path / "tflite" / "a.tflite").read_text() == "worse"


def test_earlier_artefacts_of_the_same_model_and_photos_are_in_the_report(source, tmp_path):
    write(source, tmp_path, tflite("a", "good"), tflite("b", "worse"))
    write(source, tmp_path, tflite("b", "good"), tflite("c", "worse"))
    rows = measured(tmp_path, source, KERAS)
    assert [(row.artefact, row.cosine_min) for row in rows] == [
        ("tflite/a.tflite", 0.999),
        ("tflite/b.tflite", 0.999),
        ("tflite/c.tflite", 0.95),
    ]
    (tmp_path / "tflite" / "a.json").unlink()
    (tmp_path / "tflite" / "b.tflite").unlink()
    assert [row.artefact for row in measured(tmp_path, source, KERAS)] == ["tflite/c.tflite"]


@pytest.mark.parametrize("change", [{"data": "others"}, {"threads": 4}, {"keras_recalls": (0.1, 0.2)}])
def test_artefacts_that_were_measured_otherwise_are_left_out(source, tmp_path, change):
    write(source, tmp_path, tflite("a", "good"))
    assert measured(tmp_path, source, dataclasses.replace(KERAS, **change)) == []


def test_artefacts_of_other_models_and_sizes_and_other_files_are_left_out(source, whitened_model, tmp_path):
    write(source, tmp_path, tflite("a", "good"))
    (tmp_path / "tflite" / "notes.json").write_text('["mine"]')
    assert len(measured(tmp_path, source, KERAS)) == 1
    assert measured(tmp_path, Source(whitened_model, (48, 64), "small_mac", "test"), KERAS) == []


def test_folder_is_cleared_of_what_a_killed_export_left(tmp_path):
    left = tmp_path / "saved_model" / ".0badcafe.partial.1"
    left.mkdir(parents=True)
    (left / "saved_model.pb").touch()
    (tmp_path / "saved_model" / "1").mkdir()
    claim(tmp_path)
    assert [path.name for path in (tmp_path / "saved_model").iterdir()] == ["1"]


def test_two_exports_do_not_write_to_one_folder(tmp_path):
    program = "import sys\nfrom pathlib import Path\nfrom keras_sare.utils.files import lock\nlock(Path(sys.argv[1]))\n"
    program += "print('locked', flush=True)\nsys.stdin.read()\n"
    command = [sys.executable, "-c", program, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(RuntimeError, match="Another process runs in"):
            claim(tmp_path)
        other.communicate()
    claim(tmp_path)
