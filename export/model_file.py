"""Opens a `.keras` file that a user has saved."""

import re
import zipfile
from pathlib import Path

import keras


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
        raise FileNotFoundError(f"`model` must name an existing .keras file. Received: model={str(path)!r}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"`model` must be a file that `model.save` wrote whole. Received: model={str(path)!r}")
    try:
        model = keras.saving.load_model(path)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # Keras raises any of them, with pages of configuration as the text.
        raise ValueError(
            "`model` must be a functional or Sequential model of layers that Keras and keras_sare have: classes and "
            "functions of your own are not known here, and a Lambda is not loaded. Make it of such layers, and save it "
            f"anew. Received: model={str(path)!r}: {_reason(error)}"
        ) from error
    return _plain(model)


def _reason(error: Exception) -> str:
    """What is missing; else the first sentence."""
    missing = re.findall(r"Could not locate (?:class|function) '([^']+)'", str(error))
    return f"without {', '.join(dict.fromkeys(missing))}" if missing else re.split(r"\.\s|\n", str(error))[0]


def _plain(model: keras.Model) -> keras.Model:
    """Makes `model.input` and `model.output` one tensor each, and a Sequential model functional."""
    sequential = isinstance(model, keras.Sequential)
    if sequential and not model.built:
        raise ValueError(
            "`model` must have weights: a Sequential model without an Input gets them when it is first called. Put "
            f"keras.Input((None, None, 3)) first, and train it. Received: {model.name!r}, without weights"
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            "`model` must have one input, images, and one output, descriptors: make it `keras.Model(images, "
            f"descriptors)`. Received: {model.name!r}, inputs={len(model.inputs)}, outputs={len(model.outputs)}"
        )
    if not sequential and all(isinstance(ends, keras.KerasTensor) for ends in (model.input, model.output)):
        return model
    # Of the tensors that its layers have: were they called anew, `layer.input` would still be what it was.
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
