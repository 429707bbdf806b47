"""CroW: cross-dimensional weighting."""

import keras
from keras import ops

from keras_sare.layers.normalize import EPSILON, at_least, l2_normalize
from keras_sare.layers.pooling import FeatureMapPooling


@keras.saving.register_keras_serializable(package="keras_sare")
class CroW(FeatureMapPooling):
    """Sum of a feature map weighted by position and by channel, L2-normalised.

    A position weighs sqrt(S / |S|), where S is the sum of its activations over the channels; a channel weighs
    log(sum(Q) / Q), where Q is its share of non-zero positions, and nothing where it is zero everywhere. Both want
    activations after the ReLU, so negative ones count as zero. No gradient flows through the channels' weights, because
    Q is a count.

    Reference: Kalantidis, Mellina, Osindero, "Cross-dimensional Weighting for Aggregated Deep Convolutional Features",
    ECCV Workshops 2016, section 4.

    Args:
        **kwargs: of `keras.layers.Layer`.

    Input shape: `[batch, height, width, channels]`, any floating dtype.

    Output shape: `[batch, channels]`, float32 (float64 for a float64 policy or input), each row of norm 1.

    Example:

    >>> descriptor = CroW()(features)
    """

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        x = ops.relu(at_least(inputs, self.precision))
        activation = ops.sum(x, axis=-1, keepdims=True)
        # EPSILON keeps the square root's gradient finite; where it matters x itself is zero.
        spatial = ops.sqrt(l2_normalize(activation, axis=(1, 2)) + EPSILON)
        share = ops.mean(ops.cast(ops.not_equal(x, 0), x.dtype), axis=(1, 2))
        present = share > 0
        rarity = ops.log(ops.sum(share, axis=-1, keepdims=True) / ops.where(present, share, 1))
        return l2_normalize(ops.sum(x * spatial, axis=(1, 2)) * ops.where(present, rarity, 0))
