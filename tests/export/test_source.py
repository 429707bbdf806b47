import hashlib
import json
import shutil

import keras
import numpy as np
import pytest

from export.formats.keras_file import write_keras
from export.source import open_source, read_size, sample_image, size_of
from keras_sare.layers import MAC, NetVLAD, Whitening
from keras_sare.models import truncated
from keras_sare.models.importers.formats.torch_file import write_torch
from keras_sare.training import RunFolder

ALEXNET = {"0": (64, 3, 11), "3": (192, 64, 5), "6": (384, 192, 3), "8": (256, 384, 3), "10": (256, 256, 3)}


@pytest.fixture
def model_file(whitened_model, tmp_path):
    whitened_model.save(tmp_path / "model.keras")
    return str(tmp_path / "model.keras")


@pytest.fixture(scope="module")
def foreign_file(tmp_path_factory):
    """AlexNet as torchvision stores it."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    state = {}
    for place, (filters, channels, side) in ALEXNET.items():
        state[f"features.{place}.weight"] = rng.normal(size=(filters, channels, side, side)).astype("float32")
        state[f"features.{place}.bias"] = np.zeros(filters, "float32")
    write_torch(path, state)
    return str(path)


def saved(folder, *layers):
    inputs = keras.Input((None, None, 3))
    output = inputs
    for layer in layers:
        output = layer(output)
    keras.Model(inputs, output).save(folder / "other.keras")
    return str(folder / "other.keras")


def test_run_brings_its_model_size_settings_and_recall(finished_run, whitened_model):
    source = open_source(run=str(finished_run))
    assert (source.name, source.size, source.dim, source.origin) == ("small_mac", (24, 32), 8, str(finished_run))
    assert source.settings["model"] == "small_mac"
    assert source.evaluation["trained, whitened to 8-D"]["recalls"] == [0.5, 0.75, 0.9]
    image = sample_image((24, 32))
    np.testing.assert_array_equal(source.model(image), whitened_model(image))


def test_settings_are_those_of_the_last_stretch_with_what_was_changed(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "run")
    RunFolder(tmp_path / "run").write_settings({**RunFolder(finished_run).settings, "learning_rate": 0.5})
    settings = open_source(run=str(tmp_path / "run")).settings
    assert settings["learning_rate"] == 0.5
    assert settings["changes"] == [{"epoch": 0, "step": 0, "settings": {"learning_rate": 0.5}}]


def test_recall_of_a_run_is_left_out_at_another_size_only(finished_run):
    other = open_source(run=str(finished_run), size=(48, 64))
    assert other.size == (48, 64)
    assert other.evaluation == {}
    assert open_source(run=str(finished_run), size=(24, 32)).evaluation != {}


def test_export_follows_the_orientation_of_its_run(finished_run, model_file, tmp_path):
    assert open_source(run=str(finished_run)).orientation == "stored"  # It names none, as in earlier versions.
    other = open_source(run=str(finished_run), orientation="upright")
    assert (other.orientation, other.evaluation) == ("upright", {})
    settings = json.loads((finished_run / "run.json").read_text())
    shutil.copytree(finished_run, tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text(json.dumps({**settings, "orientation": "upright"}))
    source = open_source(run=str(tmp_path / "run"))
    assert source.orientation == "upright"
    assert source.evaluation != {}
    assert open_source(model=model_file, size=512).orientation == "upright"


def test_tables_of_a_retrieval_run_are_kept_where_they_are_of_its_size(whitened_model, tmp_path):
    run = RunFolder(tmp_path)
    run.write_settings({"longer_side": 362, "whitening_side": 64})
    run.save_model(whitened_model, run.model)
    for name, side in (("toy", 64), ("other", 48)):
        (tmp_path / name).mkdir()
        table = {"reports": {}, "settings": {"longer_side": side, "dataset": name}}
        (tmp_path / name / "retrieval.json").write_text(json.dumps(table))
    source = open_source(run=str(tmp_path))
    assert source.size == 64
    assert list(source.evaluation) == ["toy"]


def test_keras_file_takes_the_size_that_is_given(model_file, whitened_model):
    source = open_source(model=model_file, size=512)
    assert (source.size, source.name, source.settings, source.evaluation) == (512, "small_mac", {}, {})
    image = sample_image(512)
    assert image.shape == (1, 224, 224, 3)
    np.testing.assert_array_equal(source.model(image), whitened_model(image))


def test_weights_of_another_project_take_their_pooling_from_the_preset(foreign_file):
    source = open_source(weights=foreign_file, preset="alexnet_mac", size=(64, 96))
    assert (source.name, source.dim, source.origin) == ("alexnet_mac", 256, foreign_file)


def test_dimensions_are_cut_and_the_recall_of_all_of_them_is_left_out(finished_run, whitened_model):
    source = open_source(run=str(finished_run), dim=3)
    image = sample_image((24, 32))
    first = whitened_model(image).numpy()[:, :3]
    np.testing.assert_allclose(source.model(image), first / np.linalg.norm(first), atol=1e-6)
    assert (source.dim, source.evaluation) == (3, {})
    assert open_source(run=str(finished_run), dim=8).evaluation != {}


def test_digest_is_of_names_types_shapes_and_values_of_the_weights(model_file, whitened_model):
    source = open_source(model=model_file, size=64)
    expected = hashlib.sha256()
    for weight in whitened_model.weights:
        array = weight.numpy()
        expected.update(f"{weight.path} float32 {array.shape}\n".encode() + array.tobytes())
    assert source.weights_digest == expected.hexdigest()
    bias = source.model.get_layer("conv").bias
    bias.assign(bias + 1e-6)
    assert open_source(model=model_file, size=64).weights_digest == source.weights_digest
    changed = type(source)(source.model, source.size, source.name, source.origin)
    assert changed.weights_digest != source.weights_digest


@pytest.mark.parametrize("given", [{}, {"run": "runs/a", "model": "a.keras"}])
def test_exactly_one_origin_must_be_named(given):
    with pytest.raises(ValueError, match="One of `run`, `model` and `weights` must say what is exported. Received: "):
        open_source(**given, size=64)


def test_preset_goes_with_weights_only(model_file):
    with pytest.raises(ValueError, match="`preset` must only be given with `weights`. Received: preset='vgg16_mac'"):
        open_source(model=model_file, preset="vgg16_mac", size=64)


@pytest.mark.parametrize("origin", [{"model": "a.keras"}, {"weights": "a.pth"}])
def test_files_that_do_not_know_their_size_ask_for_it_before_they_are_read(origin):
    with pytest.raises(ValueError, match="`size` must say what images the model is for.*--image_size=480,640"):
        open_source(**origin)


def test_unfinished_run_is_refused(finished_run, tmp_path):
    shutil.copy(finished_run / "run.json", tmp_path)
    with pytest.raises(FileNotFoundError, match="has not finished"):
        open_source(run=str(tmp_path))


def test_model_without_normalised_descriptors_is_refused(tmp_path):
    path = saved(tmp_path, keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D())
    with pytest.raises(ValueError, match=r"one descriptor of norm 1 for each image.*which gives shape \(1, 4\), norm"):
        open_source(model=path, size=64)


def test_whitening_that_was_never_fitted_is_refused(tmp_path):
    path = saved(tmp_path, keras.layers.Conv2D(4, 3), MAC(), Whitening(2))
    with pytest.raises(ValueError, match="or a whitening was never fitted. Received: .*norm 0$"):
        open_source(model=path, size=64)


def test_netvlad_without_clusters_is_warned_of(tmp_path):
    path = saved(tmp_path, keras.layers.Conv2D(4, 3), NetVLAD(2))
    with pytest.warns(UserWarning, match="is being exported without clusters"):
        open_source(model=path, size=64)


def test_model_of_another_image_size_is_refused(tmp_path):
    inputs = keras.Input((32, 32, 3))
    keras.Model(inputs, MAC()(keras.layers.Conv2D(4, 3)(inputs))).save(tmp_path / "fixed.keras")
    assert open_source(model=str(tmp_path / "fixed.keras"), size=(32, 32)).dim == 4
    with pytest.raises(ValueError, match=r"must take RGB images \[1, 48, 64, 3\].*size=\(48, 64\), which gives"):
        open_source(model=str(tmp_path / "fixed.keras"), size=(48, 64))


def test_size_of_a_run_is_that_of_its_whitening():
    assert size_of({"image_size": ["480", "640"], "dim": 4096}) == (480, 640)
    assert size_of({"longer_side": 362, "whitening_side": 1024}) == 1024


def test_size_is_two_numbers_or_the_limit_of_the_longer_side():
    assert read_size(["480", " 640"]) == (480, 640)
    assert read_size(["1024"]) == 1024


@pytest.mark.parametrize("parts", [[], ["0"], ["480", "x"], ["1", "2", "3"], ["-4", "5"]])
def test_anything_else_is_no_size(parts):
    with pytest.raises(
        ValueError, match="`image_size` must be height,width in pixels, or one number.*Received: image_"
    ):
        read_size(parts)


def test_sequential_model_is_exported_and_shortened_at_its_last_layer(tmp_path):
    images = np.random.default_rng(0).uniform(0, 255, (2, 24, 32, 3)).astype("float32")
    first = keras.Input((None, None, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3), MAC()
    layer = Whitening(3)
    model = keras.Sequential([*first, layer], name="own")
    model.build((None, None, None, 3))
    layer.set_projection(np.eye(4)[:, :3], np.zeros(3))
    model.save(tmp_path / "own.keras")
    source = open_source(model=str(tmp_path / "own.keras"), size=(24, 32), dim=2)
    kept = model(images).numpy()[:, :2]
    np.testing.assert_allclose(source.model(images), kept / np.linalg.norm(kept, axis=1, keepdims=True), atol=1e-6)
    assert truncated(source.model, 1).output.shape == (None, 1)
    write_keras(source, tmp_path / "written.keras")
