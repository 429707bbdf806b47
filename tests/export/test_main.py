import json
import re
import subprocess
import sys

import keras
import pytest

from export.converters.tflite import VARIANTS
from export.formats import FORMATS
from export.quantisation.sample_photos import sample_photo
from export.source import Source
from keras_sare.layers import MAC
from keras_sare.utils.digests import path_digest

INFORMATION_OF_TENSORFLOW = r"^I\d{4} .*(cpu_feature_guard|builder_impl|signature_serialization|saver)\.(cc|py):"


@pytest.fixture(scope="module")
def model_file(whitened_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.keras"
    whitened_model.save(path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(sample_photo(number, (48, 64)))
    return folder


def export(*arguments):
    command = [sys.executable, "-m", "export", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def test_photos_that_the_model_does_not_take_are_told_without_a_traceback(photos, tmp_path):
    keras.Sequential([keras.Input((24, 24, 3)), keras.layers.Conv2D(4, 3), MAC()]).save(tmp_path / "square.keras")
    source = [f"--model={tmp_path / 'square.keras'}", "--image_size=24", f"--images={photos}"]
    done = export("keras", *source, f"--output={tmp_path / 'out'}")
    assert done.returncode == 1
    assert re.search(r"^export: .*expected shape=\(None, 24, 24, 3\), found shape=\(1, 18, 24, 3\)", done.stderr, re.M)
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").rglob("*.keras"))


def test_artefact_that_falls_short_fails_the_export_and_the_others_are_written(
    model_file, photos, whitened_model, tmp_path
):
    source = [f"--model={model_file}", "--image_size=24,32", f"--images={photos}", f"--output={tmp_path}"]
    done = export("tflite", "--variants=float32,dynamic_int8", "--require-cosine=0.999999", *source)
    assert done.returncode == 1, done.stderr
    assert not re.search(INFORMATION_OF_TENSORFLOW, done.stderr, re.MULTILINE)
    assert re.search(r"Not written: .*dynamic_int8\.tflite\. .*falls short.*too low", done.stderr)
    assert sorted(path.name for path in (tmp_path / "tflite").iterdir()) == ["float32.json", "float32.tflite"]
    assert [line.split(" | ")[0] for line in done.stdout.splitlines() if line.startswith("| ")][2:] == [
        "| Keras model",
        "| tflite/float32.tflite",
        "| tflite/dynamic_int8.tflite (not written)",
    ]
    manifest = json.loads((tmp_path / "tflite" / "float32.json").read_text())
    assert manifest["sha256"] == path_digest(tmp_path / "tflite" / "float32.tflite")
    assert manifest["model"]["weights_sha256"] == Source(whitened_model, 1, "", "").weights_digest
    assert manifest["fidelity"]["images"] == 3
    for name in ("fidelity.json", "fidelity.md", "fidelity.png"):
        assert (tmp_path / name).stat().st_size > 200
    assert done.stdout.strip() == (tmp_path / "fidelity.md").read_text().strip()


@pytest.mark.slow
def test_all_formats_of_a_run_and_later_one_of_them_again(finished_run, photos, tmp_path):
    options = ["--scales=multi", "--require-cosine=0.9", f"--calibration={photos}"]
    first = export("all", f"--run={finished_run}", f"--output={tmp_path}", *options)
    assert first.returncode == 0, first.stderr
    assert not re.search(INFORMATION_OF_TENSORFLOW, first.stderr, re.MULTILINE)
    names = [f"tflite/{name}.tflite" for name in VARIANTS]
    names = ["keras/model.keras", "saved_model/1", *names, "onnx/model.onnx"]
    manifests = [json.loads(path.read_text()) for kind in FORMATS for path in (tmp_path / kind).glob("*.json")]
    assert sorted(f"{one['kind']}/{one['name']}" for one in manifests) == sorted(names)
    assert len({one["model"]["weights_sha256"] for one in manifests}) == 1
    [saved_model] = [one for one in manifests if one["kind"] == "saved_model"]
    assert saved_model["signatures"]["images"]["outputs"] == {"embedding": "float [-1, 8]"}
    assert "multiscale" in saved_model["signatures"]
    again = export("saved_model", f"--run={finished_run}", f"--output={tmp_path}")
    assert again.returncode == 0, again.stderr
    rows = json.loads((tmp_path / "fidelity.json").read_text())["rows"]
    assert {row["artefact"] for row in rows} == {"Keras model", *names, "saved_model/2"}
