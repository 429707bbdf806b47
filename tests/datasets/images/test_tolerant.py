import io
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sare.datasets import decode_batch, decode_image, decode_single, name_errors, require_all

HOSTILE = runpy.run_path(str(Path(__file__).parents[2] / "data" / "hostile_images.py"))
SIZE = (12, 16)
FILES = [tf.TensorSpec([None], tf.string)]


class Decoder(tf.Module):
    """Both ways to decode, as an exported graph has them."""

    @tf.function(input_signature=FILES)
    def resized(self, files):
        images, errors = decode_batch(files, SIZE)
        return {"images": images, "errors": errors}

    @tf.function(input_signature=FILES)
    def strict(self, files):
        outputs = self.resized(files)
        with tf.control_dependencies([require_all(outputs["errors"])]):
            return {"images": tf.identity(outputs["images"])}

    @tf.function(input_signature=FILES)
    def fitted(self, files):
        signature = (tf.TensorSpec([3], tf.int32), tf.TensorSpec([], tf.float32), tf.TensorSpec([], tf.string))

        def describe(contents):
            image, error = decode_single(contents, 10)
            return tf.shape(image), tf.reduce_sum(image), error

        shapes, sums, errors = tf.map_fn(describe, files, fn_output_signature=signature)
        return {"shapes": shapes, "sums": sums, "errors": name_errors(errors)}


@pytest.fixture(scope="module")
def decoder():
    return Decoder()


@pytest.fixture(scope="module")
def saved(decoder, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("saved"))
    names = {"serving_default": decoder.resized, "strict": decoder.strict, "fitted": decoder.fitted}
    tf.saved_model.save(decoder, folder, signatures=names)
    return folder


def encode(file_format, seed=0, size=(24, 32), **options):
    buffer = io.BytesIO()
    blocks = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize(size[::-1]).save(buffer, file_format, **options)
    return buffer.getvalue()


def turned(orientation):
    note = Image.Exif()
    note[0x0112] = orientation
    return note


GOOD = [
    encode("JPEG", 1),
    encode("PNG", 2, (50, 20)),
    encode("WEBP", 3, (8, 9)),
    encode("JPEG", 4, exif=turned(6)),
    encode("GIF", 5),
]
BAD = {
    b"": "empty",
    b"\xff": "not a JPEG, PNG, GIF or WebP image",
    b"<html>an error page</html>": "not a JPEG, PNG, GIF or WebP image",
    encode("BMP"): "not a JPEG, PNG, GIF or WebP image",
    encode("JPEG")[:-40]: "truncated or damaged",
    encode("JPEG")[:30]: "truncated or damaged",
    encode("PNG")[:60]: "truncated or damaged",
    encode("WEBP")[:-30]: "truncated or damaged",
    encode("GIF")[:-300]: "truncated or damaged",
    encode("GIF", save_all=True, append_images=[Image.new("RGB", (32, 24))]): "an animation",
    encode("WEBP", save_all=True, append_images=[Image.new("RGB", (32, 24))]): "an animation",
    HOSTILE["webp_of_one_colour"](16383, 16383): "too large: declares 16383 x 16383 pixels, at most 128000000 are read "
    "(max_pixels)",
}
# Good ones at the odd places, the last one bad.
MIXED = [file for pair in zip(BAD, [*GOOD, *GOOD, *GOOD[:2]], strict=True) for file in pair] + [b""]
ERRORS = [f"image {i}: {BAD[file]}".encode() if file in BAD else b"" for i, file in enumerate(MIXED)]


def expected_images(files):
    return np.stack([np.zeros((*SIZE, 3)) if file in BAD else decode_image(file, SIZE) for file in files])


def test_bad_images_are_named_and_the_others_unharmed(decoder):
    outputs = decoder.resized(tf.constant(MIXED))
    assert outputs["errors"].numpy().tolist() == ERRORS
    assert outputs["images"].dtype == tf.float32
    np.testing.assert_array_equal(outputs["images"], expected_images(MIXED))


def test_good_images_have_no_errors(decoder):
    outputs = decoder.resized(tf.constant(GOOD))
    assert outputs["errors"].numpy().tolist() == [b""] * 5
    np.testing.assert_array_equal(outputs["images"], expected_images(GOOD))


def test_all_images_may_be_bad(decoder):
    outputs = decoder.resized(tf.constant(list(BAD)))
    assert outputs["errors"].numpy().tolist() == [f"image {i}: {why}".encode() for i, why in enumerate(BAD.values())]
    assert not outputs["images"].numpy().any()


def test_no_images_give_no_images(decoder):
    outputs = decoder.resized(tf.constant([], tf.string))
    assert (outputs["images"].shape, outputs["errors"].shape) == ((0, *SIZE, 3), (0,))


def test_the_shape_of_a_batch_is_known_beforehand(decoder):
    outputs = decoder.resized.get_concrete_function().structured_outputs
    assert outputs["images"].shape.as_list() == [None, *SIZE, 3]


def test_images_of_unlike_shapes_come_one_at_a_time(decoder):
    outputs = {name: value.numpy() for name, value in decoder.fitted(tf.constant(MIXED)).items()}
    expected = [np.zeros([0, 0, 3]) if file in BAD else decode_image(file, 10) for file in MIXED]
    assert outputs["errors"].tolist() == ERRORS
    assert outputs["shapes"].tolist() == [list(image.shape) for image in expected]
    np.testing.assert_allclose(outputs["sums"], [np.sum(image) for image in expected], rtol=1e-6)


def test_pixels_may_be_taken_as_stored():
    contents = GOOD[3]
    image, error = tf.function(lambda: decode_single(contents, 32, orientation="stored"))()
    assert error == b""
    np.testing.assert_array_equal(image, decode_image(contents, 32, orientation="stored"))


def test_one_error_names_all_bad_images(decoder):
    text = "image 1: empty; image 2: truncated or damaged; image 4: not a JPEG, PNG, GIF or WebP image"
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(text)):
        decoder.strict(tf.constant([GOOD[0], b"", encode("JPEG")[:-40], GOOD[1], b"text"]))
    np.testing.assert_array_equal(decoder.strict(tf.constant(GOOD))["images"], expected_images(GOOD))


def test_a_reloaded_graph_is_as_tolerant(saved):
    signatures = tf.saved_model.load(saved).signatures
    outputs = signatures["serving_default"](files=tf.constant(MIXED))
    assert outputs["errors"].numpy().tolist() == ERRORS
    np.testing.assert_array_equal(outputs["images"], expected_images(MIXED))


def test_a_session_such_as_a_server_has_is_as_tolerant(saved):
    # With one thread, an operation that waits for another one on it would wait for ever.
    config = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=1, use_per_session_threads=True)
    with tf.Graph().as_default(), tf.compat.v1.Session(config=config) as session:
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], saved).signature_def

        def run(name, files):
            signature = signatures[name]
            outputs = {key: tensor.name for key, tensor in signature.outputs.items()}
            return session.run(outputs, {signature.inputs["files"].name: files})

        outputs = run("serving_default", MIXED)
        shapes = run("fitted", MIXED)["shapes"]
        with pytest.raises(tf.errors.InvalidArgumentError, match="image 1: empty; image 2: not a JPEG"):
            run("strict", [GOOD[0], b"", b"text"])
    assert outputs["errors"].tolist() == ERRORS
    np.testing.assert_array_equal(outputs["images"], expected_images(MIXED))
    assert shapes[:4].tolist() == [[0, 0, 3], [8, 10, 3], [0, 0, 3], [10, 4, 3]]
