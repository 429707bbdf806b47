"""Opens a `.keras` file that a user has saved."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from keras_sare.utils.digests import content_digest


def open_model_file(path: Path) -> keras.Model:
    """Opens a `.keras` file as a functional model, of which parts can be told apart and replaced.

    Args:
        path: of a functional model with one input and one output, or of a `keras.Sequential`, which becomes one of the
            same layers.

    Raises:
        FileNotFoundError: there is no such file, or its name ends otherwise.
        ValueError: it is damaged, has layers that neither Keras nor keras_sare knows, or holds a model without weights
            or with several inputs or outputs.
    """
    if path.suffix != ".keras" or not path.is_file():
        raise FileNotFoundError(f"`path` must name an existing .keras file. Received: path={str(path)!r}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"`path` must be a file that `model.save` wrote whole. Received: path={str(path)!r}")
    try:
        model = keras.saving.load_model(path)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # Keras raises any of them, with pages of configuration as the text.
        raise ValueError(
            "`path` must be a functional or Sequential model of layers that Keras and keras_sare have: classes and "
            "functions of your own are not known here, and a Lambda is not loaded. Make it of such layers, and save it "
            f"anew. Received: path={str(path)!r}: {_reason(error)}"
        ) from error
    return _plain(model)


def check_descriptors(model: keras.Model, image: np.ndarray, origin: str) -> None:
    """Describes one image, so that a model of something else shows before anything is done with it.

    Args:
        model: any model.
        image: [1, height, width, 3], RGB in 0..255.
        origin: of the model, for messages.

    Raises:
        ValueError: the model does not take the image, or does not give a descriptor of norm 1.
    """
    try:
        descriptor = keras.ops.convert_to_numpy(model(image, training=False))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"The model must take RGB images {list(image.shape)}. Received: {origin}, which gives: {error}"
        ) from error
    if descriptor.ndim != 2 or not np.isclose(np.linalg.norm(descriptor), 1, atol=1e-3):
        raise ValueError(
            "The model must give one descriptor of norm 1 for each image. An L2 normalisation at its end is missing, "
            f"or a whitening was never fitted. Received: {origin}, which gives shape {descriptor.shape}, norm "
            f"{np.linalg.norm(descriptor):.4g}"
        )


def weights_digest(model: keras.Model) -> str:
    """SHA-256 of names, types, shapes and values of all weights, in the model's order."""
    return content_digest(_named_weights(model))


def identity_of(model: keras.Model) -> str:
    """SHA-256 of a model's weights and layers: what descriptors of the same images depend on."""
    return content_digest([weights_digest(model), model.to_json()])


def _named_weights(model: keras.Model) -> Iterator[str | np.ndarray]:
    for weight in model.weights:  # One after the other: together they may take gigabytes.
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
        yield f"{weight.path} {array.dtype} {array.shape}\n"
        yield array


def _reason(error: Exception) -> str:
    """What is missing; else the first sentence."""
    missing = re.findall(r"Could not locate (?:class|function) '([^']+)'", str(error))
    return f"without {', '.join(dict.fromkeys(missing))}" if missing else re.split(r"\.\s|\n", str(error))[0]


def _plain(model: keras.Model) -> keras.Model:
    """Makes `model.input` and `model.output` one tensor each, and a Sequential model functional."""
    sequential = isinstance(model, keras.Sequential)
    if sequential and not model.built:
        raise ValueError(
            "`path` must hold a model with weights: a Sequential model without an Input gets them when it is first "
            f"called. Put keras.Input((None, None, 3)) first, and train it. Received: {model.name!r}, without weights"
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            "`path` must hold a model of one input, images, and one output, descriptors: make it `keras.Model(images, "
            f"descriptors)`. Received: {model.name!r}, inputs={len(model.inputs)}, outputs={len(model.outputs)}"
        )
    if not sequential and all(isinstance(ends, keras.KerasTensor) for ends in (model.input, model.output)):
        return model
    # Of the tensors that its layers have: were they called anew, `layer.input` would still be what it was.
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
