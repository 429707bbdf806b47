"""SPoC: sum-pooled convolutional features."""

import keras
from keras import ops

from keras_sare.layers.normalize import at_least
from keras_sare.layers.pooling import GlobalPooling


@keras.saving.register_keras_serializable(package="keras_sare")
class SPoC(GlobalPooling):
    """Global mean of every channel, L2-normalised.

    The paper's sum differs from the mean by a factor that the normalisation removes; its optional weighting by the
    distance to the image's centre is left out, as in every later comparison. It is also the method `avg` of NetVLAD's
    published code.

    Reference: Babenko, Lempitsky, "Aggregating Deep Convolutional Features for Image Retrieval", ICCV 2015, section
    4.1.

    Args:
        **kwargs: of `keras_sare.layers.pooling.GlobalPooling` and `keras.layers.Layer`.

    Input shape: `[batch, height, width, channels]`, any floating dtype.

    Output shape: `[batch, channels]`, float32 (float64 for a float64 policy or input), each row of norm 1.

    Example:

    >>> descriptor = SPoC()(features)
    """

    def pool(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return ops.mean(at_least(inputs, self.precision), axis=(1, 2))
