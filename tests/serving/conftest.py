"""A tiny SavedModel with the signatures of the real export, and a server for it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from serving.models.manager import ModelManager
from serving.rpc.server import ModelServer


class TinyModel(tf.Module):
    """Mean colour of an image, weighted and L2-normalised: the signatures of the real export without its size."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable([1.0, 2.0, 3.0])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def embed_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._embed(tf.map_fn(self._decode, image_bytes, tf.TensorSpec([8, 8, 3], tf.float32)))

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, name="images")])
    def embed_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._embed(tf.image.resize(images, [8, 8]))

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.float32, name="left"), tf.TensorSpec([], tf.int64, name="right")]
    )
    def combine(self, left: tf.Tensor, right: tf.Tensor) -> dict[str, tf.Tensor]:
        right = tf.cast(right, tf.float32)
        return {"sum": left + right, "product": left * right, "text": tf.strings.as_string(left)}

    def _decode(self, data: tf.Tensor) -> tf.Tensor:
        return tf.image.resize(tf.io.decode_image(data, channels=3, expand_animations=False), [8, 8])

    def _embed(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": tf.math.l2_normalize(tf.reduce_mean(images, [1, 2]) * self.weights, -1)}


class WaitingModel(tf.Module):
    """Signatures that do not end by themselves; both say on stderr that they have begun."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64, name="steps")])
    def loop(self, steps: tf.Tensor) -> dict[str, tf.Tensor]:
        """Many short operations."""
        with tf.control_dependencies([tf.print("computing")]):
            start = tf.constant(0, tf.int64)
        return {"count": tf.while_loop(lambda i: i < steps, lambda i: [i + 1], [start])[0]}

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64, name="steps")])
    def stuck(self, steps: tf.Tensor) -> dict[str, tf.Tensor]:
        """One operation that never ends, nor can be cancelled: it takes from a place where nobody puts anything."""
        with tf.control_dependencies([tf.print("computing")]):
            (count,) = tf.raw_ops.Unstage(dtypes=[tf.int64], shared_name="never")
        return {"count": count + steps}


def expected_embeddings(images: np.ndarray) -> np.ndarray:
    """What the tiny model returns for 8x8 images, in numpy."""
    means = images.astype(np.float32).mean((1, 2)) * np.array([1.0, 2.0, 3.0], np.float32)
    return means / np.linalg.norm(means, axis=-1, keepdims=True)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tiny model, in TensorFlow Serving's layout, with the one version 7."""
    folder = tmp_path_factory.mktemp("export") / "keras_sare"
    model = TinyModel()
    signatures = {"serving_default": model.embed_bytes, "images": model.embed_images, "combine": model.combine}
    tf.saved_model.save(model, folder / "7", signatures=signatures)
    return folder


@pytest.fixture(scope="session")
def waiting_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the model that does not answer, with the one version 1."""
    folder = tmp_path_factory.mktemp("export") / "waiting"
    model = WaitingModel()
    tf.saved_model.save(model, folder / "1", signatures={"loop": model.loop, "stuck": model.stuck})
    return folder


@pytest.fixture(scope="session")
def manager(model_folder: Path) -> ModelManager:
    return ModelManager.from_folder("keras_sare", model_folder)


@pytest.fixture(scope="session")
def address(manager: ModelManager) -> Iterator[str]:
    """Address of a running server of the tiny model."""
    server = ModelServer(manager, port=0)
    server.start()
    yield server.address
    server.stop(grace=0)


@pytest.fixture(scope="session")
def pictures() -> np.ndarray:
    """Five 8x8 RGB images, uint8."""
    return np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def embeddings(pictures: np.ndarray) -> np.ndarray:
    """The embeddings of `pictures`, computed in numpy."""
    return expected_embeddings(pictures)


@pytest.fixture(scope="session")
def files(pictures: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """`pictures` as PNG files, which lose nothing."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{number}.png" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        path.write_bytes(tf.io.encode_png(picture).numpy())
    return paths


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys and certificates, each its own authority: server.key, server.crt, client.key, client.crt, other. ..."""
    folder = tmp_path_factory.mktemp("pem")
    for name in ("server", "client", "other"):
        command = (
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name} "
            f"-addext subjectAltName=IP:127.0.0.1 -keyout {name}.key -out {name}.crt"
        )
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder
