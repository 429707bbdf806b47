from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf2onnx

from export.fidelity.runtime import Runtime
from export.fidelity.runtime_process import Session
from export.formats import FORMATS, saved_model

FIXED = (1, 20, 24, 3)


class Embedding(tf.Module):
    """Holds the variables, which a converter does not find otherwise."""

    def __init__(self, model, shape):
        super().__init__()
        self.weights = [variable.value for variable in model.variables]
        spec = tf.TensorSpec(shape, tf.float32, name="images")
        self.images = tf.function(lambda images: {"embedding": model(images, training=False)}, input_signature=[spec])
        files = tf.TensorSpec([None], tf.string, name="image_bytes")
        self.files = tf.function(lambda image_bytes: self.images(decoded(image_bytes)), input_signature=[files])

    def tflite(self):
        function = self.images.get_concrete_function()
        return tf.lite.TFLiteConverter.from_concrete_functions([function], self).convert()


def decoded(files):
    return tf.map_fn(lambda file: tf.ensure_shape(tf.cast(tf.io.decode_png(file, 3), tf.float32), [None, None, 3]),
                     files, fn_output_signature=tf.TensorSpec([None, None, 3], tf.float32))  # fmt: skip


def pictures(count, height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3)).astype("float32")


@pytest.fixture(scope="module")
def artefacts(whitened_model, tmp_path_factory):
    """One of each kind, and "fixed", a TFLite file for one image of one size."""
    folder = tmp_path_factory.mktemp("artefacts")
    paths = {"keras": "model.keras", "saved_model": "1", "tflite": "any.tflite", "onnx": "m.onnx", "fixed": "f.tflite"}
    paths = {kind: folder / name for kind, name in paths.items()}
    module = Embedding(whitened_model, [None, None, None, 3])
    whitened_model.save(paths["keras"])
    tf.saved_model.save(
        module, paths["saved_model"], signatures={"images": module.images, "serving_default": module.files}
    )
    paths["tflite"].write_bytes(module.tflite())
    paths["fixed"].write_bytes(Embedding(whitened_model, FIXED).tflite())
    [spec] = module.images.input_signature
    tf2onnx.convert.from_function(module.images, [spec], opset=17, output_path=str(paths["onnx"]))
    return paths


@pytest.fixture(scope="module")
def runtimes(artefacts):
    """A process for each kind."""
    opened = {}
    try:
        for kind in FORMATS:
            opened[kind] = Runtime(kind, artefacts[kind], threads=1)
        yield opened
    finally:
        for runtime in opened.values():
            runtime.close()


@pytest.fixture
def fake_runtime(tmp_path, monkeypatch):
    """Starts a process in which `onnxruntime` is a few lines of the test."""
    path = tmp_path / "model.onnx"
    path.touch()

    def start(lines):
        (tmp_path / "onnxruntime.py").write_text(lines)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return Runtime("onnx", path)

    return start


FAKE = """
import os, sys
import numpy as np
class SessionOptions: pass
class Node: name, shape = "images", ["b", "h", "w", 3]
class InferenceSession:
    def __init__(self, *_, **__): pass
    def get_inputs(self): return [Node]
    def run(self, _, inputs):
        {run}
"""


@pytest.mark.parametrize("kind", FORMATS)
def test_descriptors_are_the_keras_models_for_any_number_and_size(kind, runtimes, whitened_model):
    for images in (pictures(3, 20, 24), pictures(1, 31, 17), pictures(2, 20, 24, seed=1)):
        described = runtimes[kind].extract(images)
        assert described.dtype == np.float32
        np.testing.assert_allclose(described, whitened_model(images), atol=2e-6)


@pytest.mark.parametrize(
    ("kind", "expected"), [("tflite", []), ("onnx", []), ("keras", ["keras", "keras_sare", "tensorflow"])]
)
def test_process_imports_no_more_than_its_artefact_needs(kind, expected, runtimes):
    runtimes[kind].extract(pictures(1, 20, 24))
    assert runtimes[kind].modules() == expected


def test_saved_model_needs_tensorflow_and_not_keras_sare(runtimes):
    modules = runtimes["saved_model"].modules()
    assert "tensorflow" in modules
    assert "keras_sare" not in modules


@pytest.mark.parametrize("kind", FORMATS)
def test_latency_is_measured_and_memory_grows_with_the_work(kind, runtimes):
    runtime = runtimes[kind]
    before = runtime.peak_memory()
    assert runtime.latency(pictures(8, 240, 240), repeats=1) > 0
    # 8 x 238 x 238 x 16 float32 of the convolution, at least.
    assert runtime.peak_memory() > before
    assert runtime.peak_memory() > 29_000_000


def test_latency_is_the_median_of_the_calls_after_one_to_warm_up(monkeypatch):
    durations = iter([60.0, 3.0, 1.0, 9.0])
    clock = [0.0]

    def extract(images):
        clock[0] += next(durations)
        return images.mean((1, 2))

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    assert Session(extract, (None, None, None, 3)).latency(pictures(1, 4, 4), repeats=3) == 3


def test_saved_model_reads_files_and_the_others_do_not(runtimes, whitened_model, tmp_path):
    images = pictures(2, 20, 24)
    paths = [str(tmp_path / f"{number}.png") for number in range(2)]
    for path, image in zip(paths, images, strict=True):
        tf.io.write_file(path, tf.io.encode_png(image.astype("uint8")))
    np.testing.assert_allclose(runtimes["saved_model"].extract_files(paths), whitened_model(images), atol=2e-6)
    with pytest.raises(ValueError, match="files are read by a SavedModel alone"):
        runtimes["tflite"].extract_files(paths)


def test_memory_is_that_of_the_process_alone(runtimes):
    assert runtimes["tflite"].peak_memory() < runtimes["saved_model"].peak_memory() / 2


def test_artefact_for_one_image_is_given_a_batch_one_by_one(artefacts, whitened_model):
    images = pictures(3, *FIXED[1:3])
    with Runtime("tflite", artefacts["fixed"]) as runtime:
        assert not runtime.takes_batches
        np.testing.assert_allclose(runtime.extract(images), whitened_model(images), atol=2e-6)
        assert runtime.latency(images) > 0
        with pytest.raises(ValueError, match=r"f.tflite.*must have the shape \[1, 20, 24, 3\]. .*shape=\[1, 20, 20, 3"):
            runtime.extract(pictures(2, 20, 20))
        np.testing.assert_allclose(runtime.extract(images), whitened_model(images), atol=2e-6)


def test_artefacts_of_any_size_take_batches(runtimes):
    assert all(runtime.takes_batches for runtime in runtimes.values())


@pytest.mark.parametrize("shape", [(20, 24, 3), (2, 20, 24, 1), (0, 20, 24, 3)])
def test_images_of_another_shape_are_refused(shape, runtimes):
    with pytest.raises(ValueError, match=r"`images` must be RGB images .* Received: shape=\("):
        runtimes["tflite"].extract(np.zeros(shape, np.float32))


def test_no_repeats_are_refused(runtimes):
    with pytest.raises(ValueError, match="`repeats` must be at least 1. Received: repeats=0"):
        runtimes["tflite"].latency(pictures(1, 20, 24), repeats=0)


def test_process_that_was_killed_is_reported(artefacts):
    with Runtime("tflite", artefacts["tflite"]) as runtime:
        runtime.process.kill()
        runtime.process.wait()
        message = "The process of tflite '.*any.tflite' was killed by SIGKILL, most likely because memory ran out"
        with pytest.raises(RuntimeError, match=message):
            runtime.extract(pictures(64, 100, 100))
        with pytest.raises(RuntimeError, match=message):
            runtime.peak_memory()


def test_process_that_is_killed_while_it_extracts_is_reported(fake_runtime):
    with (
        fake_runtime(FAKE.format(run="os.kill(os.getpid(), 9)")) as runtime,
        pytest.raises(RuntimeError, match="was killed by SIGKILL"),
    ):
        runtime.latency(pictures(1, 100, 100))


def test_process_that_ends_by_itself_is_reported_with_its_last_messages(fake_runtime):
    with fake_runtime(FAKE.format(run='print("no room left", flush=True); os._exit(3)')) as runtime:
        message = "onnx '.*model.onnx' ended with exit code 3. Its last messages:\nno room left"
        with pytest.raises(RuntimeError, match=message):
            runtime.extract(pictures(1, 4, 4))


def test_what_libraries_print_does_not_disturb_the_answers(fake_runtime):
    with fake_runtime(FAKE.format(run='os.write(1, b"hello"); return [inputs["images"].mean((1, 2))]')) as runtime:
        np.testing.assert_allclose(runtime.extract(np.full((2, 4, 4, 3), 7, np.float32)), np.full((2, 3), 7))


def test_error_while_describing_names_the_artefact_and_leaves_the_process_running(fake_runtime):
    with fake_runtime(FAKE.format(run="raise MemoryError")) as runtime:
        with pytest.raises(RuntimeError, match="onnx '.*model.onnx': MemoryError"):
            runtime.extract(pictures(1, 4, 4))
        assert runtime.modules() == []


def test_output_of_another_shape_is_refused(fake_runtime):
    with (
        fake_runtime(FAKE.format(run='return [inputs["images"]]')) as runtime,
        pytest.raises(RuntimeError, match=r"must give \[2, dim\] for its images. Received: shape=\(2, 4, 4, 3\)"),
    ):
        runtime.extract(pictures(2, 4, 4))


def test_missing_library_is_told_with_the_line_to_install_it(fake_runtime):
    with pytest.raises(ImportError, match=r'onnxruntime cannot be imported .*: pip install "keras-sare\[onnx\]"'):
        fake_runtime("raise ImportError('not here')")


def test_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"no model at all")
    with pytest.raises(RuntimeError, match=r"tflite '.*broken.tflite': it cannot be loaded: "):
        Runtime("tflite", path)


def test_saved_model_without_a_signature_for_images_is_refused(tmp_path, monkeypatch):
    module = tf.Module()
    module.other = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([None], tf.float32)])
    tf.saved_model.save(module, tmp_path / "1", signatures={"other": module.other})
    monkeypatch.setattr(saved_model, "import_tensorflow", lambda threads: tf)
    with pytest.raises(ValueError, match=r"the signature 'images'. Received: signatures=\['other'\]"):
        saved_model.FORMAT.load(str(tmp_path / "1"), 1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            ("pickle", Path("a.tflite")),
            ValueError,
            "`kind` must be one of keras, saved_model, tflite, onnx. .*'pickle'",
        ),
        (("tflite", Path("a.tflite"), 0), ValueError, "`threads` must be at least 1. Received: threads=0"),
        (("tflite", Path("a.tflite")), FileNotFoundError, "`path` must be an artefact .* Received: path='a.tflite'"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Runtime(*arguments)
