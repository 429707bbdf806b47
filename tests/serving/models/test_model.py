"""Running the signatures of a SavedModel."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf

from serving.errors import RequestError
from serving.limits import Limits
from serving.models.model import ServedModel

PNG_ERROR = r"^Unknown image file format\..* required\.$"


@pytest.fixture(scope="module")
def model(model_folder: Path) -> ServedModel:
    return ServedModel(model_folder / "7", 7)


@pytest.fixture(scope="module")
def waiting(waiting_folder: Path) -> ServedModel:
    return ServedModel(waiting_folder / "1", 1)


def protos(**inputs: Any) -> dict[str, Any]:
    return {name: tf.make_tensor_proto(value) for name, value in inputs.items()}


def test_the_model_knows_its_version_and_signatures(model: ServedModel) -> None:
    assert model.version == 7
    assert set(model.signature_defs) == {"serving_default", "images", "combine", "__saved_model_init_op"}


def test_encoded_images_of_any_size_become_embeddings(model: ServedModel) -> None:
    colours = np.array([[250, 10, 20], [5, 100, 30]], np.uint8)
    images = [np.broadcast_to(colours[0], (9, 20, 3)), np.broadcast_to(colours[1], (31, 8, 3))]
    data = [tf.io.encode_png(image).numpy() for image in images]
    expected = colours * [1.0, 2.0, 3.0]
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    result = model.predict("serving_default", protos(image_bytes=data))["embedding"]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_decoded_images_become_embeddings(model: ServedModel, pictures: np.ndarray, embeddings: np.ndarray) -> None:
    result = model.predict("images", protos(images=pictures.astype(np.float32)))
    assert list(result) == ["embedding"]
    np.testing.assert_allclose(result["embedding"], embeddings, atol=1e-6)


def test_a_signature_with_several_inputs_and_outputs_runs(model: ServedModel) -> None:
    result = model.predict("combine", protos(left=np.float32([1, 2]), right=np.int64(3)))
    np.testing.assert_array_equal(result["sum"], [4, 5])
    np.testing.assert_array_equal(result["product"], [3, 6])
    np.testing.assert_array_equal(result["text"], [b"1.000000", b"2.000000"])


def test_only_the_outputs_asked_for_come_back(model: ServedModel) -> None:
    result = model.predict("combine", protos(left=np.float32([1]), right=np.int64(3)), ["product"])
    assert list(result) == ["product"]


@pytest.mark.parametrize(
    ("signature", "inputs", "text"),
    [
        ("images", protos(images=np.zeros((0, 8, 8, 3), np.float32)), '"images" must not be empty.*[0, 8, 8, 3]'),
        ("images", protos(images=np.zeros((2, 0, 8, 3), np.float32)), '"images" must not be empty.*[2, 0, 8, 3]'),
        ("serving_default", protos(image_bytes=np.zeros(0, object)), '"image_bytes" must not be empty.*[0]'),
    ],
)
def test_an_empty_batch_is_refused(model: ServedModel, signature: str, inputs: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError, match=f"^input {text.replace('[', chr(92) + '[')}$") as caught:
        model.predict(signature, inputs)
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_with_their_place(model: ServedModel, value: float) -> None:
    images = np.ones((2, 8, 8, 3), np.float32)
    images[1, 2, 3, 0] = value
    with pytest.raises(RequestError, match=rf'"images" must hold finite numbers. Received: {value} at \[1, 2, 3, 0\]$'):
        model.predict("images", protos(images=images))


def test_finite_numbers_whose_sum_is_not_are_taken(model: ServedModel) -> None:
    left = np.full(3, np.finfo(np.float32).max)
    np.testing.assert_array_equal(model.predict("combine", protos(left=left, right=np.int64(1)))["sum"], left)


@pytest.mark.parametrize(
    ("signature", "inputs", "output_filter", "text"),
    [
        (
            "images",
            {},
            [],
            "input size does not match signature: 0!=1 len({}) != len({images}). Sent extra: {}. "
            "Missing but required: {images}.",
        ),
        (
            "images",
            protos(images=0.0, b=0.0, a=0.0),
            [],
            "input size does not match signature: 3!=1 len({a,b,images}) != len({images}). Sent extra: {a,b}. "
            "Missing but required: {}.",
        ),
        (
            "images",
            protos(image=0.0),
            [],
            "Signature input alias: images(feed name: images_images:0) not found in request and no default value "
            "provided. Inputs expected to be in the request {image}, or default input alias set: ",
        ),
        (
            "combine",
            protos(left=[0.0], right=0),
            ["sum", "quotient"],
            "output tensor alias not found in signature: quotient Outputs expected to be in the set "
            "{product,sum,text}.",
        ),
        ("combine", protos(left=[0.0], right=0), ["sum", "sum"], "duplicate output tensor alias: sum"),
        ("images", protos(images=np.zeros((1, 2, 2, 3))), [], "Expects arg[0] to be float but double is provided"),
        ("images", protos(images=[b"data"]), [], "Expects arg[0] to be float but string is provided"),
        ("serving_default", protos(image_bytes=[1]), [], "Expects arg[0] to be string but int32 is provided"),
        (
            "combine",
            protos(left=[0.0], right=np.float16(0)),
            [],
            "Expects arg[1] to be int64 but half is provided",
        ),
        (
            "images",
            protos(images=np.zeros((2, 2, 3), np.float32)),
            [],
            'input "images" does not match signature: expected shape [?, ?, ?, 3], got [2, 2, 3]',
        ),
        (
            "images",
            protos(images=np.zeros((1, 2, 2, 1), np.float32)),
            [],
            'input "images" does not match signature: expected shape [?, ?, ?, 3], got [1, 2, 2, 1]',
        ),
        (
            "serving_default",
            protos(image_bytes=b"data"),
            [],
            'input "image_bytes" does not match signature: expected shape [?], got []',
        ),
        (
            "__saved_model_init_op",
            {},
            [],
            "Tried to fetch data for 'NoOp', which produces no output.  To run to a node but not fetch any data, pass "
            "'NoOp' as an argument to the 'target_node_names' argument of the Session::Run API.",
        ),
    ],
)
def test_a_request_that_does_not_match_the_signature_is_an_invalid_argument(
    model: ServedModel, signature: str, inputs: dict[str, Any], output_filter: list[str], text: str
) -> None:
    with pytest.raises(RequestError) as caught:
        model.predict(signature, inputs, output_filter)
    assert (caught.value.code, caught.value.text) == (grpc.StatusCode.INVALID_ARGUMENT, text)


def test_an_unknown_signature_is_a_failed_precondition(model: ServedModel) -> None:
    with pytest.raises(RequestError, match='^Serving signature key "classify" not found.$') as caught:
        model.predict("classify", {})
    assert caught.value.code == grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(("data", "text"), [(b"no image", PNG_ERROR), (b"", r"^Input is empty\.$")])
def test_an_error_of_the_graph_keeps_its_code_and_text_but_names_no_nodes(
    model: ServedModel, data: bytes, text: str
) -> None:
    with pytest.raises(RequestError, match=text) as caught:
        model.predict("serving_default", protos(image_bytes=[data]))
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT


def test_the_model_still_works_after_an_error_of_the_graph(model: ServedModel, files: list[Path]) -> None:
    with pytest.raises(RequestError):
        model.predict("serving_default", protos(image_bytes=[b"no image"]))
    assert model.predict("serving_default", protos(image_bytes=[files[0].read_bytes()]))["embedding"].shape == (1, 3)


LOOP = {"steps": np.int64(10**9)}


@pytest.mark.parametrize(
    ("limits", "seconds"), [(Limits(seconds=0.1), math.inf), (Limits(), 0.1), (Limits(seconds=0.1), 60.0), (None, 0.1)]
)
def test_a_computation_ends_with_the_time_that_is_left(
    waiting: ServedModel, limits: Limits | None, seconds: float
) -> None:
    with pytest.raises(RequestError, match="Timed out") as caught:
        waiting.predict("loop", protos(**LOOP), limits=limits, time_left=lambda: seconds)
    assert caught.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert waiting.predict("loop", protos(steps=np.int64(3)))["count"] == 3


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.0009])
def test_nothing_is_computed_once_the_deadline_is_over(waiting: ServedModel, seconds: float) -> None:
    with pytest.raises(RequestError, match="before the computation began") as caught:
        waiting.predict("stuck", protos(**LOOP), time_left=lambda: seconds)
    assert caught.value.code == grpc.StatusCode.DEADLINE_EXCEEDED


def test_inputs_beyond_the_limits_are_refused(model: ServedModel) -> None:
    images = protos(images=np.zeros((3, 2, 2, 3), np.float32))
    with pytest.raises(RequestError, match='^input "images" must hold at most 2 images') as caught:
        model.predict("images", images, limits=Limits(images=2))
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT


def test_one_value_stands_for_all_in_requests_of_ones_own_alone(model: ServedModel) -> None:
    image = tf.make_tensor_proto(127.5, shape=[1], dtype=tf.float32)
    image.tensor_shape.CopyFrom(tf.TensorShape([20, 8, 8, 3]).as_proto())
    assert model.predict("images", {"images": image}, limits=None)["embedding"].shape == (20, 3)
    with pytest.raises(RequestError, match=r"a tensor of shape \[20, 8, 8, 3\] must have 3840 values in float_val"):
        model.predict("images", {"images": image}, limits=Limits(images=20))


def cut(name: str, length: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:length])


@pytest.mark.parametrize(
    "damage",
    [
        cut("saved_model.pb", 0),
        cut("saved_model.pb", 500),
        lambda folder: (folder / "saved_model.pb").write_bytes(b"\xffgarbage\n" * 50),
        cut("variables/variables.data-00000-of-00001", 0),
        cut("variables/variables.data-00000-of-00001", 5),
        lambda folder: (folder / "variables/variables.data-00000-of-00001").write_bytes(b"0123456789ab"),
        lambda folder: (folder / "variables/variables.data-00000-of-00001").unlink(),
        cut("variables/variables.index", 30),
        lambda folder: (folder / "variables/variables.index").unlink(),
        lambda folder: shutil.rmtree(folder / "variables"),
    ],
)
def test_a_damaged_saved_model_is_refused_in_one_line(
    model_folder: Path, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    shutil.copytree(model_folder / "7", tmp_path / "7")
    damage(tmp_path / "7")
    with pytest.raises(
        ValueError, match=r"^`folder` must hold a SavedModel that TensorFlow can load.* fails with: .+$"
    ):
        ServedModel(tmp_path / "7", 7)


def test_a_folder_without_a_saved_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`folder` must hold a SavedModel.*Received: folder="):
        ServedModel(tmp_path, 1)
