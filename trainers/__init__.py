"""Training recipes, one program each: `python -m trainers.pitts`."""

from keras_sare.utils.quiet_start import is_program, load_tensorflow

if is_program():
    load_tensorflow()
