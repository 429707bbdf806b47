"""Formats of an artefact: a file for each, and `FORMATS`, which holds them all.

Nothing here imports TensorFlow, Keras or keras_sare until a model is written or loaded: the flags of a format must be
known at once, and the process that runs an artefact must hold no more than the artefact needs.
"""

from export.formats import keras_file, onnx_model, saved_model, tflite

_FORMATS = (
    keras_file.FORMAT,
    saved_model.FORMAT,
    tflite.FORMAT,
    onnx_model.FORMAT,
)

FORMATS = {one.name: one for one in _FORMATS}
"""By name, in the order in which they are written."""
