"""Exports the model of a training run as a SavedModel for TensorFlow Serving.

    python -m export.saved_model --run=runs/pitts30k --output=exports/keras_sare

The SavedModel lies in a folder named by its version, as TensorFlow Serving wants it, and holds preprocessing, network
and whitening. Two signatures give `embedding`, float32 [batch, dim], rows of norm 1:

    serving_default   `image_bytes` string [batch]: JPEG or PNG files, each of its own size, decoded and resized in the
                      graph exactly as in the run's evaluation
    images            `images` float32 [batch, height, width, 3]: RGB in 0..255, used as they are

It is loaded again and compared with the Keras model before it appears.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from PIL import Image

from keras_sare.datasets import decode_image
from keras_sare.models import warn_if_uninitialised
from keras_sare.training import RunFolder
from keras_sare.utils.files import atomic_path
from keras_sare.utils.progress import show_information

MIN_COSINE = 0.9999

Size = tuple[int, int] | int
"""(height, width) that images are resized to, or the limit of their longer side."""

FLAGS = flags.FLAGS


class EmbeddingModule(tf.Module):
    """A Keras model behind the two serving signatures.

    A plain `tf.Module` that holds the variables, because Keras's own export (`model.export`) stores the weights twice.

    Args:
        model: images [batch, height, width, 3] to descriptors.
        size: (height, width) that encoded images are resized to; or one number, the limit of their longer side, with
            which each keeps its aspect ratio and is described by itself.
    """

    def __init__(self, model: keras.Model, size: Size) -> None:
        super().__init__(name="embedding")
        self.weights = [variable.value for variable in model.variables]

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, name="images")])
        def images(images: Any) -> dict[str, Any]:
            return {"embedding": model(images, training=False)}

        def describe(one: Any) -> Any:
            return model(decode_image(one, size)[None], training=False)[0]

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def image_bytes(image_bytes: Any) -> dict[str, Any]:
            if isinstance(size, int):
                spec = tf.TensorSpec(model.output.shape[1:], tf.float32)
                return {"embedding": tf.map_fn(describe, image_bytes, fn_output_signature=spec)}
            spec = tf.TensorSpec((*size, 3), tf.float32)
            return images(tf.map_fn(lambda one: decode_image(one, size), image_bytes, fn_output_signature=spec))

        self.functions = {"serving_default": image_bytes, "images": images}


def export_saved_model(model: keras.Model, size: Size, output: Path, version: int = 1) -> tuple[Path, float]:
    """Writes `output/version`, after reloading it and comparing it with the Keras model.

    Args:
        model: images to descriptors of norm 1, with its preprocessing and whitening inside.
        size: (height, width) that encoded images are resized to, or the limit of their longer side: that of the run's
            evaluation.
        output: folder of all versions.
        version: number of this one.

    Returns:
        The folder written, and the smallest cosine between the descriptors of the two models on sample images.

    Raises:
        FileExistsError: this version exists.
        RuntimeError: the reloaded model differs (cosine below 0.9999); nothing is left behind.
    """
    target = output / str(version)
    if target.exists():
        free = 1 + max(int(path.name) for path in output.iterdir() if path.name.isdigit())
        raise FileExistsError(
            f"`version` must be new: {str(target)!r} exists, and a server may be using it. Export version {free} "
            f"instead. Received: version={version}"
        )
    warn_if_uninitialised(model, "exported")
    module = EmbeddingModule(model, size)
    with atomic_path(target) as folder:
        tf.saved_model.save(module, str(folder), signatures=module.functions)
        cosine = smallest_cosine(model, size, folder)
        if not cosine >= MIN_COSINE:
            raise RuntimeError(
                f"The reloaded SavedModel must agree with the Keras model to a cosine of {MIN_COSINE}. "
                f"Received: cosine={cosine:.6f}. Nothing was exported; please report this as a bug."
            )
    return target, cosine


def smallest_cosine(model: keras.Model, size: Size, folder: Path) -> float:
    """Compares both signatures of a SavedModel with the Keras model on pictures of several sizes and formats."""
    last = (size, size) if isinstance(size, int) else size
    files = [_sample_file(1, (90, 120), "JPEG"), _sample_file(2, (150, 80), "PNG"), _sample_file(3, last, "JPEG")]
    pixels = [decode_image(tf.constant(file), size).numpy()[None] for file in files]
    expected = np.concatenate([keras.ops.convert_to_numpy(model(one, training=False)) for one in pixels])
    signatures = tf.saved_model.load(str(folder)).signatures
    outputs = [
        signatures["serving_default"](image_bytes=tf.constant(files))["embedding"],
        tf.concat([signatures["images"](images=tf.constant(one))["embedding"] for one in pixels], 0),
    ]
    return float(min(np.sum(output.numpy() * expected, axis=1).min() for output in outputs))


def _sample_file(seed: int, size: tuple[int, int], file_format: str) -> bytes:
    """A picture of coloured blocks: unlike noise it has edges and areas, as photos do."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(blocks).resize((size[1], size[0])).save(buffer, file_format)
    return buffer.getvalue()


def size_of(settings: Mapping[str, Any]) -> Size:
    """The size of images that a run's model was whitened for, of `trainers.pitts` or of `trainers.retrieval_sfm`."""
    if "image_size" in settings:
        height, width = map(int, settings["image_size"])
        return height, width
    return int(settings["whitening_side"])


def main(_: list[str]) -> None:
    """Exports the model of a run."""
    logger = show_information()
    run = RunFolder(FLAGS.run)
    target, cosine = export_saved_model(run.load_model(), size_of(run.settings), Path(FLAGS.output), FLAGS.version)
    logger.info("Exported %s; smallest cosine to the Keras model %.6f", target, cosine)


if __name__ == "__main__":
    flags.DEFINE_string("run", None, "Folder of a finished training run.", required=True)
    flags.DEFINE_string("output", None, "Folder of all versions of the export.", required=True)
    flags.DEFINE_integer("version", 1, "Number of this version; a server takes the highest.", lower_bound=0)
    app.run(main)
