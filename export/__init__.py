"""Exports of a trained model: `python -m export`."""

import sys

from keras_sare.utils.quiet_start import is_program, load_tensorflow

if is_program() and "export.index" in sys.orig_argv:  # `python -m export` loads it when it has read its flags.
    load_tensorflow()
