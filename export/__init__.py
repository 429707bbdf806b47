"""Exports of a trained model: `python -m export`."""

import sys

# `python -m export` loads TensorFlow when it has read its flags, a runtime process only where its artefact needs it.
if "export.index" in sys.orig_argv:
    from keras_sare.utils.quiet_start import is_program, load_tensorflow

    if is_program():
        load_tensorflow()
