"""Requests with which a server warms a SavedModel up before it takes the first real one."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from export.quantisation.sample_photos import sample_photo
from export.source import Size

BATCHES = (1, 2, 4)
"""Images in the requests. TensorFlow Serving refuses to load a version with a request beyond its `max_batch_size`."""

FILE = Path("assets.extra") / "tf_serving_warmup_requests"
"""Where TensorFlow Serving looks, below the folder of a version."""


def write_warmup(folder: Path, size: Size, signatures: Iterable[str]) -> None:
    """Writes warm-up requests into the folder of a version.

    Without them the first request of each signature waits while the graph is optimised and, on a GPU, while the
    convolutions are tuned. The requests name no model: whoever replays them knows which one it loads.

    Args:
        folder: of the version.
        size: (height, width) of images, or the limit of their longer side.
        signatures: those to call: "images" with images, all others with image files.

    Raises:
        ImportError: the package that defines the format is missing.
    """
    path = folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in _records(size, signatures):
            writer.write(record.SerializeToString())


def _records(size: Size, signatures: Iterable[str]) -> Iterator[Any]:
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError as error:
        raise ImportError(
            "Warm-up requests need TensorFlow Serving's messages: pip install 'keras-sare[export]', or export without "
            "them."
        ) from error
    landscape = (max(1, size * 3 // 4), size) if isinstance(size, int) else size
    files = [sample_photo(number, landscape if number % 2 == 0 else landscape[::-1]) for number in range(max(BATCHES))]
    for signature in signatures:
        for batch in BATCHES:
            record = prediction_log_pb2.PredictionLog()
            request = record.predict_log.request
            request.model_spec.signature_name = signature
            if signature == "images":
                request.inputs["images"].CopyFrom(_grey_images((batch, *landscape, 3)))
            else:
                request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(files[:batch]))
            yield record


def _grey_images(shape: tuple[int, ...]) -> Any:
    """Only the shape of images matters for warming up, and one value that stands for all keeps the file small."""
    images = tf.make_tensor_proto(127.5, shape=[1], dtype=tf.float32)
    images.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return images
