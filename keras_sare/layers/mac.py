"""MAC: maximum activations of convolutions."""

import keras
from keras import ops

from keras_sare.layers.normalize import at_least
from keras_sare.layers.pooling import GlobalPooling


@keras.saving.register_keras_serializable(package="keras_sare")
class MAC(GlobalPooling):
    """Global maximum of every channel, L2-normalised.

    A compact descriptor (512-D for VGG16) for images of any size. The maximum is taken of activations after the ReLU.
    It is also the method `max` of NetVLAD's published code.

    Reference: Radenovic, Tolias, Chum, "CNN Image Retrieval Learns from BoW", ECCV 2016, section 3.1.

    Args:
        **kwargs: of `keras_sare.layers.pooling.GlobalPooling` and `keras.layers.Layer`.

    Input shape: `[batch, height, width, channels]`, any floating dtype.

    Output shape: `[batch, channels]`, float32 (float64 for a float64 policy or input), each row of norm 1.

    Example:

    >>> descriptor = MAC()(features)
    """

    def pool(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return at_least(ops.max(inputs, axis=(1, 2)), self.precision)
