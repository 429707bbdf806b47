"""SavedModels, loaded again."""

import io
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from export.converters import saved_model
from export.converters.embedding_module import EmbeddingModule
from export.converters.embedding_module import at_scales as at_scales_of
from export.converters.saved_model import SavedModelOptions, write_saved_model
from export.converters.saved_model_check import smallest_cosine_of
from export.source import Source
from keras_sare.layers import MAC, GeM, NetVLAD, SPoC
from keras_sare.models import initialise_netvlad, with_whitening

HOSTILE = runpy.run_path(str(Path(__file__).parents[2] / "data" / "hostile_images.py"))
SIZE = (24, 32)
SCALES = (1.0, 2**0.5)


def photo(seed, size, file_format, orientation=1, mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image = Image.fromarray(pixels).convert(mode).resize(size)
    image.save(buffer, file_format, exif=exif, **({"lossless": True} if file_format == "WEBP" else {}))
    return buffer.getvalue()


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def call(model, signature, **inputs):
    return {name: value.numpy() for name, value in model.signatures[signature](**inputs).items()}


def described(model, files):
    return call(model, "serving_default", image_bytes=tf.constant(files))["embedding"]


@pytest.fixture(scope="module")
def whitening():
    rng = np.random.default_rng(0)
    return {"projection": rng.normal(size=(32, 8)).astype("float32"), "mean": rng.normal(size=32).astype("float32")}


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None, None, 3), name="images")
    features = keras.layers.Conv2D(8, 3, name="conv")(keras.layers.Rescaling(1 / 255)(inputs))
    netvlad = keras.Model(inputs, NetVLAD(4, name="netvlad")(features))
    initialise_netvlad(netvlad, [np.random.default_rng(0).integers(0, 255, (4, *SIZE, 3)).astype("float32")])
    return netvlad


@pytest.fixture(scope="module")
def model(network, whitening):
    projection = whitening["projection"]
    mean = whitening["mean"]
    return with_whitening(network, projection, -mean @ projection, 8, mean)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """Images of one size, with all that there is."""
    folder = tmp_path_factory.mktemp("exports") / "3"
    write_saved_model(Source(model, SIZE, "tiny", "a test"), folder, SavedModelOptions(scales=SCALES, version=3))
    return folder


@pytest.fixture(scope="module")
def loaded(folder):
    return tf.saved_model.load(str(folder))


@pytest.fixture(scope="module")
def fitted_folder(model, tmp_path_factory):
    """Images that keep their aspect ratio, and a whitening that is stored in half precision."""
    folder = tmp_path_factory.mktemp("exports") / "1"
    options = SavedModelOptions(whitening_dtype="bfloat16", warmup=False)
    write_saved_model(Source(model, 40, "tiny", "a test"), folder, options)
    return folder


@pytest.fixture(scope="module")
def fitted(fitted_folder):
    return tf.saved_model.load(str(fitted_folder))


def resized(file):
    pixels = tf.io.decode_jpeg(file, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.image.resize(pixels, SIZE, antialias=True).numpy()


def test_files_of_any_size_give_the_keras_models_descriptors(model, loaded):
    files = [photo(1, (40, 30), "JPEG"), photo(2, (20, 50), "PNG"), photo(3, (32, 24), "JPEG")]
    expected = model(np.stack([resized(file) for file in files])).numpy()
    assert np.sum(described(loaded, files) * expected, axis=1).min() >= 0.9999


def test_formats_and_modes_of_the_same_pixels_give_the_same_descriptor(loaded):
    colour = [photo(1, (32, 24), file_format) for file_format in ("PNG", "WEBP")]
    grey = [photo(1, (32, 24), "PNG", mode=mode) for mode in ("L", "LA")]
    assert np.ptp(described(loaded, colour), axis=0).max() < 1e-6
    assert np.ptp(described(loaded, grey), axis=0).max() < 1e-6


def test_photos_are_turned_upright(model, loaded):
    """Orientation 6: a camera held upright, whose photos are shown turned by a quarter clockwise."""
    file = photo(1, (40, 30), "JPEG", orientation=6)
    stored = tf.io.decode_jpeg(file, dct_method="INTEGER_ACCURATE").numpy()
    upright = tf.image.resize(np.rot90(stored, -1), SIZE, antialias=True)
    assert np.sum(described(loaded, [file]) * model(upright[None]).numpy()) >= 0.9999


def test_image_tensors_are_used_as_they_are(model, loaded):
    images = np.random.default_rng(4).integers(0, 256, (2, 40, 28, 3)).astype("float32")
    np.testing.assert_allclose(call(loaded, "images", images=images)["embedding"], model(images), atol=1e-6)


def test_with_a_limit_of_the_longer_side_photos_keep_their_aspect_ratio(model, fitted):
    files = [photo(1, (30, 40), "PNG"), photo(2, (40, 12), "PNG"), photo(3, (20, 16), "PNG")]
    images = [tf.io.decode_png(file)[None] for file in files]
    expected = np.concatenate([model(tf.cast(one, tf.float32)) for one in images])
    assert np.sum(described(fitted, files) * expected, axis=1).min() >= 0.9999
    larger = photo(4, (100, 30), "PNG")
    shrunk = Image.open(io.BytesIO(larger)).resize((40, 12), Image.Resampling.LANCZOS)
    expected = model(np.asarray(shrunk, "float32")[None]).numpy()
    assert np.sum(described(fitted, [larger]) * expected) >= 0.9999


@pytest.mark.parametrize("which", ["loaded", "fitted"])
def test_a_damaged_file_fails_the_request_with_every_index_and_reason(request, which):
    good = photo(1, (40, 30), "JPEG")
    text = r"image 1: empty; image 3: not a JPEG, PNG, GIF or WebP image; image 4: truncated"
    with pytest.raises(tf.errors.InvalidArgumentError, match=text):
        described(request.getfixturevalue(which), [good, b"", good, b"no image", good[:400]])


@pytest.mark.parametrize("which", ["loaded", "fitted"])
def test_where_damage_is_tolerated_the_others_get_their_descriptors(request, which):
    model = request.getfixturevalue(which)
    files = [photo(1, (40, 30), "JPEG"), b"no image", photo(2, (20, 50), "PNG"), b""]
    outputs = call(model, "tolerant", image_bytes=tf.constant(files))
    expected = [b"", b"image 1: not a JPEG, PNG, GIF or WebP image", b"", b"image 3: empty"]
    assert outputs["error"].tolist() == expected
    np.testing.assert_array_equal(outputs["embedding"][1::2], np.zeros((2, 8)))
    np.testing.assert_allclose(outputs["embedding"][::2], described(model, files[::2]), atol=1e-6)


def test_scales_are_averaged_before_the_whitening(network, whitening, loaded):
    file = photo(1, (32, 24), "PNG")
    image = tf.cast(tf.io.decode_png(file), tf.float32)[None]
    at_scales = [network(image), network(tf.image.resize(image, (33, 45)))]
    mean = unit(np.mean([one.numpy() for one in at_scales], axis=0))
    expected = unit((mean - whitening["mean"]) @ whitening["projection"])
    result = call(loaded, "multiscale", image_bytes=tf.constant([file]))["embedding"]
    np.testing.assert_allclose(result, expected, atol=1e-5)
    assert np.sum(result * described(loaded, [file])) < 0.99999


def test_metadata_need_no_input(loaded, fitted):
    outputs = call(loaded, "metadata")
    assert outputs["name"].tolist() == [b"tiny"]
    assert {name: outputs[name].tolist() for name in ("dimension", "version", "size")} == {
        "dimension": [8],
        "version": [3],
        "size": [24, 32],
    }
    assert call(fitted, "metadata")["size"].tolist() == [40]


@pytest.mark.parametrize("which", ["folder", "fitted_folder"])
def test_all_that_is_batched_has_an_open_first_dimension(request, which):
    """TensorFlow Serving's batching concatenates requests along it, and splits what comes out."""
    content = (request.getfixturevalue(which) / "saved_model.pb").read_bytes()
    signatures = dict(saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].signature_def)
    batched = [name for name in signatures if name not in ("metadata", "__saved_model_init_op")]
    assert {"serving_default", "tolerant", "images"} <= set(batched)
    for name in batched:
        tensors = [*signatures[name].inputs.values(), *signatures[name].outputs.values()]
        assert [tensor.tensor_shape.dim[0].size for tensor in tensors] == [-1] * len(tensors)


@pytest.mark.parametrize("which", ["loaded", "fitted"])
def test_requests_put_together_get_what_each_gets_alone(request, which):
    model = request.getfixturevalue(which)
    files = [photo(seed, (40, 30), "PNG") for seed in range(4)]
    alone = np.concatenate([described(model, files[:1]), described(model, files[1:])])
    np.testing.assert_allclose(described(model, files), alone, atol=1e-6)
    nothing = call(model, "tolerant", image_bytes=tf.constant([], tf.string))
    assert (nothing["embedding"].shape, nothing["error"].shape) == ((0, 8), (0,))


def stored_bytes(folder):
    return sum(path.stat().st_size for path in (folder / "variables").glob("variables.data*"))


def test_weights_are_stored_once(model, folder):
    weights = 4 * model.count_params()
    assert weights <= stored_bytes(folder) < weights + 4096


def test_half_precision_saves_half_of_the_whitening(model, folder, fitted_folder):
    assert stored_bytes(folder) - stored_bytes(fitted_folder) == pytest.approx(2 * 32 * 8, abs=64)


def test_it_runs_in_a_process_without_this_project(folder, loaded, tmp_path):
    file = photo(1, (40, 30), "JPEG")
    (tmp_path / "photo.jpg").write_bytes(file)
    program = (
        "import sys, tensorflow as tf, numpy as np\n"
        f"model = tf.saved_model.load({str(folder)!r})\n"
        "files = tf.constant([open('photo.jpg', 'rb').read()])\n"
        "np.save('embedding.npy', model.signatures['serving_default'](image_bytes=files)['embedding'].numpy())\n"
        "assert not {'keras_sare', 'export'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "embedding.npy"), described(loaded, [file]), atol=1e-6)


def test_another_model_is_found_out(network, fitted):
    rng = np.random.default_rng(9)
    other = with_whitening(network, rng.normal(size=(32, 8)), rng.normal(size=8), 8)
    assert smallest_cosine_of(fitted, Source(other, 40, "tiny", "a test")) < 0.9


@pytest.mark.parametrize(
    ("dtype", "cosine", "text"),
    [
        ("float32", 0.99989, "to a cosine of 0.9999. Received: cosine=0.999890.*report this as a bug"),
        ("float16", 0.98, "to a cosine of 0.99. Received: cosine=0.980000.*Store it in float32"),
        ("float32", float("nan"), "to a cosine of 0.9999. Received: cosine=nan"),
    ],
)
def test_what_differs_from_the_model_is_refused(model, tmp_path, monkeypatch, dtype, cosine, text):
    monkeypatch.setattr(saved_model, "smallest_cosine", lambda *_: cosine)
    monkeypatch.setattr(saved_model.tf.saved_model, "save", lambda *_, **__: None)
    with pytest.raises(RuntimeError, match=text):
        write_saved_model(Source(model, SIZE, "tiny", "a test"), tmp_path, SavedModelOptions(dtype, warmup=False))


def test_half_precision_needs_a_whitening(tmp_path):
    inputs = keras.Input((None, None, 3))
    source = Source(keras.Model(inputs, MAC(name="mac")(inputs)), SIZE, "tiny", "a test")
    with pytest.raises(ValueError, match="does not end in a Whitening.*Received: 'a test', which ends in 'mac', a MAC"):
        write_saved_model(source, tmp_path / "1", SavedModelOptions("float16"))


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ValueError, match="`whitening_dtype` must be float32, float16 or bfloat16. Received: .*'int8'"):
        SavedModelOptions("int8")


def test_a_fitted_whitening_does_not_hide_the_power_of_gem():
    """cirtorch means such descriptors with the exponent of GeM, and whitens then."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((None, None, 3))
    network = keras.Model(inputs, GeM(name="gem")(keras.layers.Conv2D(6, 3, activation="relu")(inputs)))
    projection = np.random.default_rng(1).normal(size=(6, 4))
    bias = np.full(4, 0.1)
    images = np.random.default_rng(2).uniform(0, 255, (1, 24, 32, 3)).astype("float32")
    at_scales = [network(images).numpy(), network(tf.image.resize(images, (33, 45))).numpy()]
    mean = unit(np.mean([one**3 for one in at_scales], axis=0) ** (1 / 3))
    result = at_scales_of(with_whitening(network, projection, bias, 4), SCALES)(images)
    np.testing.assert_allclose(result, unit(mean @ projection + bias), atol=1e-5)


@pytest.fixture(scope="module")
def strided():
    """The signatures of a network whose stride is 8, pooled by the mean, for files that keep their aspect ratio."""
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((None, None, 3))
    for _ in range(3):
        x = keras.layers.MaxPooling2D(2)(keras.layers.Conv2D(6, 3, padding="same")(x))
    source = Source(keras.Model(inputs, SPoC(name="spoc")(x)), 40, "tiny", "a test")
    module = EmbeddingModule(source, scales=(1.0, 0.5), max_pixels=12000)
    return SimpleNamespace(module=module, signatures=module.functions)  # The signatures do not hold the variables.


def test_images_that_shrink_to_less_than_the_network_takes_are_named_and_the_others_described(strided):
    """8 pixels are enough for three halvings; 8 x 120 shrinks to 3 x 40."""
    files = [photo(1, size, "PNG") for size in ((40, 30), (7, 7), (8, 8), (8, 120), (120, 8), (40, 8))]
    expected = [
        b"",
        b"image 1: 7 x 7, at least 8",
        b"",
        b"image 3: 3 x 40, at least 8",
        b"image 4: 40 x 3, at least 8",
        b"",
    ]
    outputs = call(strided, "tolerant", image_bytes=tf.constant(files))
    assert [error.split(b" pixels")[0] for error in outputs["error"].tolist()] == expected
    np.testing.assert_allclose(np.linalg.norm(outputs["embedding"], axis=1), [1, 0, 1, 0, 0, 1], atol=1e-5)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="image 1: 7 x 7, .*; image 3: 3 x 40, .*; image 4: 40 x 3"
    ):
        described(strided, files)
    with pytest.raises(tf.errors.InvalidArgumentError, match="image 0: 15 x 15, at least 16"):
        call(strided, "multiscale", image_bytes=tf.constant([photo(1, (15, 15), "PNG")]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_fail_the_request(strided, value):
    images = np.full((3, 16, 16, 3), 90, np.float32)
    images[1, 4, 4, 1] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match="image 1: the network gives no descriptor"):
        call(strided, "images", images=images)
    with pytest.raises(tf.errors.InvalidArgumentError, match="7 x 16, at least 8"):
        call(strided, "images", images=images[:1, :, :7])


@pytest.mark.parametrize("which", ["loaded", "fitted"])
def test_a_file_that_declares_too_many_pixels_is_refused_undecoded(request, which):
    bomb = HOSTILE["webp_of_one_colour"](16383, 16383)
    outputs = call(
        request.getfixturevalue(which), "tolerant", image_bytes=tf.constant([bomb, photo(1, (40, 30), "PNG")])
    )
    text = b"image 0: too large: declares 16383 x 16383 pixels, at most 128000000 are read (max_pixels)"
    assert outputs["error"].tolist() == [text, b""]


def test_the_limit_on_pixels_is_an_option_of_the_export(strided):
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="image 0: too large: declares 130 x 100.* at most 12000 are"
    ):
        described(strided, [photo(1, (130, 100), "JPEG")])
    with pytest.raises(ValueError, match="`max_pixels` must be at least 1, .* Received: max_pixels=0"):
        SavedModelOptions(max_pixels=0)
