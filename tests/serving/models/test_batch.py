"""Several requests computed as one give what each gives by itself."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from serving.errors import RequestError
from serving.limits import Limits
from serving.models.batch import bucket, predict_batch
from serving.models.model import ServedModel


class CountingModel(ServedModel):
    """Counts how often the graph is run."""

    runs = 0

    def run(self, *arguments: Any) -> dict[str, np.ndarray]:
        self.runs += 1
        return super().run(*arguments)


@pytest.fixture
def model(model_folder: Path) -> CountingModel:
    return CountingModel(model_folder / "7", 7)


def protos(**inputs: Any) -> dict[str, Any]:
    return {name: tf.make_tensor_proto(value) for name, value in inputs.items()}


def predict(model: ServedModel, signature: str, requests: list[dict[str, Any]]) -> list[Any]:
    return predict_batch(model, signature, requests, (), Limits(), lambda: math.inf)


def test_requests_of_unlike_numbers_of_images_are_computed_as_one(
    model: CountingModel, pictures: np.ndarray, embeddings: np.ndarray
) -> None:
    parts = np.split(pictures.astype(np.float32), [1, 3])
    results = predict(model, "images", [protos(images=part) for part in parts])
    assert model.runs == 1
    for result, expected in zip(results, np.split(embeddings, [1, 3]), strict=True):
        np.testing.assert_allclose(result["embedding"], expected, atol=1e-6)


def test_a_damaged_image_of_a_batch_fails_alone(
    model: CountingModel, files: list[Path], embeddings: np.ndarray
) -> None:
    contents = [files[0].read_bytes(), b"no image", files[2].read_bytes()]
    first, second, third = predict(model, "serving_default", [protos(image_bytes=[data]) for data in contents])
    assert isinstance(second, RequestError)
    assert second.code.name == "INVALID_ARGUMENT"
    np.testing.assert_allclose(first["embedding"], embeddings[:1], atol=1e-6)
    np.testing.assert_allclose(third["embedding"], embeddings[2:3], atol=1e-6)


def test_a_request_beyond_the_limits_fails_alone(model: CountingModel, pictures: np.ndarray) -> None:
    many = np.zeros((17, 8, 8, 3), np.float32)
    ours, theirs = predict(model, "images", [protos(images=pictures.astype(np.float32)), protos(images=many)])
    assert ours["embedding"].shape == (5, 3)
    assert isinstance(theirs, RequestError)
    assert "(`max_images`)" in theirs.text


def test_an_unknown_signature_fails_all(model: CountingModel) -> None:
    results = predict(model, "classify", [protos(images=[1.0]), protos(images=[2.0])])
    assert [result.code.name for result in results] == ["FAILED_PRECONDITION"] * 2


def test_outputs_without_a_row_for_each_input_are_computed_one_by_one(tmp_path: Path) -> None:
    class Sum(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def total(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"total": tf.reduce_sum(x)}

    module = Sum()
    tf.saved_model.save(module, tmp_path / "1", signatures={"total": module.total})
    results = predict(ServedModel(tmp_path / "1", 1), "total", [protos(x=[1.0, 2.0]), protos(x=[5.0])])
    assert [result["total"] for result in results] == [3.0, 5.0]


def test_a_bucket_is_names_types_and_shapes_of_a_row() -> None:
    image = np.zeros((1, 8, 8, 3), np.float32)
    assert bucket(protos(images=image)) == bucket(protos(images=np.repeat(image, 3, 0)))
    others = [protos(images=image[:, :4]), protos(images=image.astype(np.uint8)), protos(image=image)]
    assert len({bucket(inputs) for inputs in [protos(images=image), *others]}) == 4


@pytest.mark.parametrize("inputs", [{}, {"x": 1.0}, {"x": [1.0], "y": 1.0}, {"x": [1.0], "y": [1.0, 2.0]}])
def test_inputs_without_common_rows_have_no_bucket(inputs: dict[str, Any]) -> None:
    assert bucket(protos(**inputs)) is None
