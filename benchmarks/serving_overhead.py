"""What a request through the gRPC server costs over a direct call of the same SavedModel.

    python benchmarks/serving_overhead.py

The model is tiny, so that the difference is the server's and the client's own work. Both calls take turns.
"""

import io
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from export.converters.saved_model import SavedModelOptions, write_saved_model
from export.source import Source
from keras_sare.layers import MAC
from serving.client import EmbeddingClient
from serving.models.manager import ModelManager
from serving.models.model import ServedModel
from serving.rpc.server import ModelServer

ROUNDS = 200


def milliseconds(call: Callable[[], object]) -> float:
    """Duration of one call."""
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def compare(name: str, direct: Callable[[], object], served: Callable[[], object]) -> None:
    """Prints the medians of both calls."""
    pairs = [(milliseconds(direct), milliseconds(served)) for _ in range(ROUNDS)][ROUNDS // 10 :]
    medians = [statistics.median(times) for times in zip(*pairs, strict=True)]
    print(f"{name:32s} direct {medians[0]:7.2f} ms  served {medians[1]:7.2f} ms", flush=True)


def main() -> None:
    """Exports a tiny model, serves it and measures three kinds of request."""
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    inputs = keras.Input((None, None, 3), name="images")
    model = keras.Model(inputs, MAC()(keras.layers.Conv2D(4, 1)(inputs)))
    photo = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(
            Source(model, (8, 8), "tiny", "a benchmark"), Path(folder, "export", "1"), SavedModelOptions(warmup=False)
        )
        file = Path(folder, "photo.jpg")
        buffer = io.BytesIO()
        Image.fromarray(photo).resize((640, 480)).save(buffer, "JPEG", quality=95)
        file.write_bytes(buffer.getvalue())
        served = ServedModel(Path(folder, "export", "1"), 1)
        server = ModelServer(ModelManager.from_models("keras_sare", [served]), port=0)
        server.start()
        direct = served.predict
        with EmbeddingClient(server.address) as client:
            for size in ((8, 8), (480, 640)):
                images = np.full((1, *size, 3), 100.0, "float32")
                compare(
                    f"tensor {size[0]} x {size[1]}",
                    lambda images=images: direct("images", {"images": tf.make_tensor_proto(images)}),
                    lambda images=images: client.embed_images(images),
                )
            contents = np.array([buffer.getvalue()], object)
            compare(
                f"JPEG 480 x 640, {len(contents[0]) // 1000} kB",
                lambda: direct("serving_default", {"image_bytes": tf.make_tensor_proto(contents)}),
                lambda: client.embed_files([file]),
            )
        server.stop(1)


if __name__ == "__main__":
    main()
