"""Warm-up requests, and versions as they are loaded with them."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.errors import RequestError
from serving.models.loading import load_error, load_version
from serving.models.warmup import MAX_RECORDS, WARMUP_FILE, replay_warmup


class Recorder:
    """A model that notes what it is asked for, and has one signature."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def predict(self, signature: str, inputs: Any, outputs: Iterable[str], limits: None) -> dict[str, np.ndarray]:
        if signature != "serving_default":
            raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, f"no {signature}")
        self.asked.append((list(outputs), tf.make_ndarray(inputs["images"]).shape))
        return {}


def record(signature: str = "", batch: int = 1, outputs: Iterable[str] = ()) -> bytes:
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    request.output_filter.extend(outputs)
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(np.ones((batch, 4, 4, 3), np.float32)))
    return log.SerializeToString()


def write(folder: Path, records: Iterable[bytes]) -> Path:
    path = folder / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for data in records:
            writer.write(data)
    return path


def test_the_requests_are_sent_in_their_order(tmp_path: Path) -> None:
    write(tmp_path, [record(batch=2), record("serving_default", 3, ["embedding"])])
    model = Recorder()
    assert replay_warmup(tmp_path, model) == 2
    assert model.asked == [([], (2, 4, 4, 3)), (["embedding"], (3, 4, 4, 3))]


def test_a_folder_without_requests_needs_none(tmp_path: Path) -> None:
    assert replay_warmup(tmp_path, Recorder()) == 0


def test_requests_of_kinds_that_are_not_answered_are_left_out(tmp_path: Path) -> None:
    log = prediction_log_pb2.PredictionLog()
    log.classify_log.request.model_spec.name = "places"
    write(tmp_path, [log.SerializeToString(), record()])
    assert replay_warmup(tmp_path, Recorder()) == 1


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("records", "damage", "text"),
    [
        ([record(), record("other")], None, "whose record 1 fails with: no other$"),
        ([record(), b"\xff\xff"], None, "whose record 1 fails with: "),
        ([b""] * (MAX_RECORDS + 1), None, "whose record 1000 has 0 bytes$"),
        ([record()], lambda path: cut(path, 5), "which is cut$"),
        ([record(), record()], lambda path: cut(path, -1), "which is cut$"),
        ([record()], lambda path: flip(path, 6), "which is cut$"),
        ([record()], lambda path: flip(path, 20), "which is damaged$"),
        ([record()], lambda path: path.write_bytes((2**60).to_bytes(8, "little") + bytes(100)), "which is cut$"),
    ],
)
def test_requests_that_cannot_be_sent_are_refused(
    tmp_path: Path, records: list[bytes], damage: Callable[[Path], None] | None, text: str
) -> None:
    path = write(tmp_path, records)
    if damage is not None:
        damage(path)
    with pytest.raises(ValueError, match=rf"`folder` must hold warm-up requests .*{WARMUP_FILE}, {text}"):
        replay_warmup(tmp_path, Recorder())


def test_a_version_that_fails_its_warm_up_is_not_loaded(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    for name in ("saved_model.pb", "variables"):
        (folder / name).symlink_to(model_folder / "7" / name)
    write(folder, [record("images", 2)])
    assert load_version(folder, 7).version == 7
    write(folder, [record("images", 2), record("classify")])
    with pytest.raises(ValueError, match='record 1 fails with: Serving signature key "classify" not found') as caught:
        load_version(folder, 7)
    assert load_error(caught.value).code == grpc.StatusCode.FAILED_PRECONDITION


def test_the_status_tells_what_is_missing_from_what_is_damaged(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    with pytest.raises(FileNotFoundError) as missing:
        load_version(folder, 7)
    (folder / "saved_model.pb").symlink_to(model_folder / "7" / "saved_model.pb")
    with pytest.raises(ValueError, match="can load") as unreadable:
        load_version(folder, 7)
    codes = [load_error(caught.value).code.name for caught in (missing, unreadable)]
    assert codes == ["NOT_FOUND", "DATA_LOSS"]
