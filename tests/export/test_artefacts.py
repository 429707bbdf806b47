import importlib.util
import logging

import pytest
import tensorflow as tf

from export.artefacts import check_options, chosen_formats, plan
from export.converters.saved_model import SavedModelOptions
from export.converters.tflite import VARIANTS
from export.formats import FORMATS
from export.formats.format import Request
from export.quantisation.sample_photos import sample_photo
from export.source import Source
from keras_sare.models import SCALES


@pytest.fixture(scope="module")
def source(whitened_model):
    return Source(whitened_model, (24, 32), "small_mac", "test")


@pytest.fixture
def without(monkeypatch):
    """Hides modules, as if they were not installed."""
    find_spec = importlib.util.find_spec

    def hide(*modules):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in modules else find_spec(name))

    return hide


def folder_of_a_photo(folder):
    (folder / "photo.jpg").write_bytes(sample_photo(0, (24, 32)))
    return str(folder)


def names(formats, source, output, everything=False, **options):
    return [artefact.name for artefact in plan(formats, Request(source, output, everything=everything), options)]


def test_all_means_every_format_in_their_order():
    assert chosen_formats(["all"]) == list(FORMATS)
    assert chosen_formats(["onnx", "keras", "onnx"]) == ["keras", "onnx"]


def test_all_leaves_onnx_out_where_it_is_not_installed_and_says_so(without, caplog):
    without("tf2onnx")
    with caplog.at_level(logging.INFO, "keras_sare.export"):
        assert chosen_formats(["all"]) == [name for name in FORMATS if name != "onnx"]
    assert 'Without onnx: onnx needs tf2onnx: pip install "keras-sare[onnx]"' in caplog.text


@pytest.mark.parametrize(
    ("module", "formats", "extra"), [("onnxruntime", ["all", "onnx"], "onnx"), ("ai_edge_litert", ["all"], "export")]
)
def test_format_that_was_asked_for_needs_its_packages(without, module, formats, extra):
    without(module)
    with pytest.raises(ImportError, match=rf'needs {module}: pip install "keras-sare\[{extra}\]"'):
        chosen_formats(formats)


@pytest.mark.parametrize(("formats", "received"), [([], "none"), (["keras", "torch"], "keras torch")])
def test_formats_must_be_known(formats, received):
    with pytest.raises(ValueError, match=f"FORMATS must be some of keras, saved_model, .*Received: {received}$"):
        chosen_formats(formats)


@pytest.mark.parametrize("option", ["variants", "calibration", "fixed_size"])
def test_options_of_tflite_need_that_format(option):
    check_options(["keras", "tflite"], ["run", option])
    with pytest.raises(ValueError, match=f"`{option}` must only be given with the format tflite.*=keras saved_model$"):
        check_options(["keras", "saved_model"], ["run", option])


@pytest.mark.parametrize("option", ["scales", "version", "whitening_dtype", "warmup"])
def test_options_of_the_saved_model_need_that_format(option):
    check_options(["saved_model"], [option])
    with pytest.raises(ValueError, match=f"`{option}` must only be given with the format saved_model: add saved_model"):
        check_options(["tflite"], [option, "variants"])


def test_each_format_has_its_place(source, tmp_path):
    assert names(["keras", "saved_model", "tflite", "onnx"], source, tmp_path) == [
        "keras/model.keras",
        "saved_model/1",
        "tflite/float16.tflite",
        "onnx/model.onnx",
    ]


def test_every_variant_can_be_asked_for_at_once_or_by_name(source, tmp_path):
    every = names(["tflite"], source, tmp_path, variants=("all",), calibration=folder_of_a_photo(tmp_path))
    assert every == [f"tflite/{name}.tflite" for name in VARIANTS]
    twice = names(["tflite"], source, tmp_path, variants=("dynamic_int8", "float32", "float32"))
    assert twice == ["tflite/dynamic_int8.tflite", "tflite/float32.tflite"]


def test_variant_that_is_calibrated_needs_photos_and_all_leaves_it_out_without_them(source, tmp_path, caplog):
    with caplog.at_level("INFO"):
        every = names(["tflite"], source, tmp_path, variants=("all",))
    assert every == [f"tflite/{name}.tflite" for name in VARIANTS if name != "small"]
    assert "Without small. TFLite variant small needs photos to calibrate with: --calibration=FOLDER" in caplog.text
    with pytest.raises(ValueError, match="small needs photos to calibrate with.*Received: variants=float16,small"):
        names(["tflite"], source, tmp_path, variants=("float16", "small"))


def test_variant_that_takes_minutes_is_written_only_where_it_is_asked_for(source, tmp_path, caplog):
    quick = [f"tflite/{name}.tflite" for name in ("float32", "float16", "dynamic_int8", "balanced")]
    with caplog.at_level("INFO"):
        assert names(["tflite"], source, tmp_path, everything=True) == quick
    assert "Without small, which takes minutes to round: --variants=all writes it too" in caplog.text
    every = names(["tflite"], source, tmp_path, everything=True, calibration=folder_of_a_photo(tmp_path))
    assert every == [f"tflite/{name}.tflite" for name in VARIANTS]


def test_photos_to_calibrate_with_are_looked_for_only_where_a_variant_needs_them(source, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    damaged = {"calibration": str(tmp_path)}
    assert names(["tflite", "keras"], source, tmp_path, variants=("balanced",), **damaged) == [
        "tflite/balanced.tflite",
        "keras/model.keras",
    ]
    assert names(["keras"], source, tmp_path, variants=("small",), **damaged) == ["keras/model.keras"]
    with pytest.raises(ValueError, match="1 of the 1 `calibration` images .* cannot be read"):
        names(["tflite"], source, tmp_path, variants=("small",), **damaged)


def test_unknown_variant_lists_those_there_are(source, tmp_path):
    with pytest.raises(ValueError, match="`variants` must be some of float32, float16, .*or all. Received: int2"):
        names(["tflite"], source, tmp_path, variants=("float16", "int2"))


def test_fixed_size_needs_a_size(whitened_model, tmp_path):
    source = Source(whitened_model, 1024, "small_mac", "test")
    with pytest.raises(ValueError, match="`fixed_size` must be off .*Received: fixed_size=True, image_size=1024"):
        names(["tflite"], source, tmp_path, fixed_size=True)


def test_version_is_the_next_one_that_is_free(source, tmp_path):
    for name in ("2", "10", ".0badcafe.partial.11"):
        (tmp_path / "saved_model" / name).mkdir(parents=True)
    (tmp_path / "saved_model" / "10.json").touch()
    assert names(["saved_model"], source, tmp_path) == ["saved_model/11"]
    assert names(["saved_model"], source, tmp_path, version=3) == ["saved_model/3"]


def test_existing_version_is_not_overwritten_and_the_next_free_one_is_named(source, tmp_path):
    (tmp_path / "saved_model" / "7").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="`version` must be new.*Export version 8 instead. Received: version=7"):
        names(["saved_model"], source, tmp_path, version=7)


def test_a_version_that_no_request_can_ask_for_is_refused(source, tmp_path):
    assert names(["saved_model"], source, tmp_path, version=2**63 - 1) == [f"saved_model/{2**63 - 1}"]
    with pytest.raises(ValueError, match=f"`version` must be at most {2**63 - 1}.* Received: version={2**63}"):
        names(["saved_model"], source, tmp_path, version=2**63)
    (tmp_path / "saved_model" / str(2**63 - 1)).mkdir(parents=True)
    with pytest.raises(ValueError, match=f"Received: version={2**63}"):
        names(["saved_model"], source, tmp_path)


class Adder(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, "x"), tf.TensorSpec([None], tf.string, "name")])
    def add(self, x, name):
        return {"sum": x + 1, "count": tf.size(name)}


ADDER = {
    "add": {"inputs": {"name": "string [-1]", "x": "float []"}, "outputs": {"count": "int32 []", "sum": "float []"}}
}


def test_options_and_signatures_of_the_saved_model_stand_in_its_manifest(source, tmp_path, monkeypatch):
    def write(written, folder, options):
        assert written is source
        assert options == SavedModelOptions("float16", SCALES["multi"], warmup=False, version=4, max_pixels=9000)
        tf.saved_model.save(module := Adder(), str(folder), signatures={"add": module.add})

    monkeypatch.setattr("export.converters.saved_model.write_saved_model", write)
    options = {"version": 4, "whitening_dtype": "float16", "scales": "multi", "warmup": False, "max_pixels": 9000}
    [artefact] = plan(["saved_model"], Request(source, tmp_path), options)
    artefact.write(tmp_path / "written")
    chosen = {
        "whitening_dtype": "float16",
        "scales": SCALES["multi"],
        "warmup": False,
        "version": 4,
        "max_pixels": 9000,
    }
    assert artefact.extra(tmp_path / "written") == {**chosen, "signatures": ADDER}


def test_options_of_a_tflite_file_stand_in_its_manifest(source, tmp_path):
    [artefact] = plan(["tflite"], Request(source, tmp_path), {"fixed_size": True})
    assert artefact.extra(tmp_path) == {"variant": "float16", "fixed_size": True}
