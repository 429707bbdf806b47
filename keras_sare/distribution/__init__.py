"""Several devices and several machines: the tf.distribute strategy of a run, and what its workers exchange."""

from keras_sare.distribution.strategy import choose_strategy
from keras_sare.distribution.workers import Workers

__all__ = [
    "Workers",
    "choose_strategy",
]
