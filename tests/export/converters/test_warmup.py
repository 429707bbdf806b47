"""Warm-up requests, read back."""

import io
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2

from export.converters.warmup import write_warmup

SIGNATURES = ["serving_default", "images"]


def requests(folder):
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        yield prediction_log_pb2.PredictionLog.FromString(record).predict_log.request


def test_every_signature_is_called_with_a_few_sizes_of_batches(tmp_path):
    write_warmup(tmp_path, (48, 64), SIGNATURES)
    found = list(requests(tmp_path))
    names = [(request.model_spec.signature_name, *request.inputs) for request in found]
    assert names == [("serving_default", "image_bytes")] * 3 + [("images", "images")] * 3
    shapes = [[dim.size for dim in next(iter(one.inputs.values())).tensor_shape.dim] for one in found]
    assert shapes == [[1], [2], [4], [1, 48, 64, 3], [2, 48, 64, 3], [4, 48, 64, 3]]


def test_the_model_may_be_served_by_any_name(tmp_path):
    write_warmup(tmp_path, (48, 64), SIGNATURES)
    assert {request.model_spec.name for request in requests(tmp_path)} == {""}


@pytest.mark.parametrize(("size", "shape"), [((48, 64), (48, 64)), (64, (48, 64))])
def test_the_files_are_photos_in_both_formats_of_the_models_size(tmp_path, size, shape):
    write_warmup(tmp_path, size, ["serving_default"])
    files = tf.make_ndarray(list(requests(tmp_path))[-1].inputs["image_bytes"])
    photos = [Image.open(io.BytesIO(file)) for file in files]
    assert [photo.format for photo in photos] == ["JPEG"] * 4
    assert [photo.size[::-1] for photo in photos] == [shape, shape[::-1]] * 2
    assert len({file for file in files}) == 4
    # As of a photo, and unlike of noise: neighbouring pixels are alike.
    steps = [np.abs(np.diff(np.asarray(photo.convert("L"), float), axis=1)).mean() for photo in photos]
    spreads = [np.asarray(photo.convert("L"), float).std() for photo in photos]
    assert max(step / spread for step, spread in zip(steps, spreads, strict=True)) < 0.5


def test_tensors_of_images_take_no_space(tmp_path):
    write_warmup(tmp_path, (480, 640), ["images"])
    assert (tmp_path / "assets.extra" / "tf_serving_warmup_requests").stat().st_size < 1000
    images = tf.make_ndarray(list(requests(tmp_path))[-1].inputs["images"])
    assert (images.shape, images.dtype, np.unique(images).tolist()) == ((4, 480, 640, 3), np.float32, [127.5])


def test_without_the_package_the_message_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-sare\[export\]'"):
        write_warmup(tmp_path, (48, 64), SIGNATURES)
