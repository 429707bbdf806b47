"""GeM: generalised-mean pooling."""

from typing import Any

import keras
from keras import ops

from keras_sare.layers.normalize import at_least
from keras_sare.layers.pooling import GlobalPooling
from keras_sare.utils.arguments import plain_arguments

SMALLEST_EXPONENT = 0.01


@keras.saving.register_keras_serializable(package="keras_sare")
class GeM(GlobalPooling):
    """Generalised mean of every channel with a trainable exponent, L2-normalised.

    For activations `x` of one channel at all positions of a feature map the layer computes

        mean(max(x, epsilon)^p)^(1/p)

    which is the mean (SPoC) at p = 1 and tends to the maximum (MAC) with growing p. It is computed by logarithms, so
    that neither large exponents nor large activations overflow.

    A trained exponent counts as 0.01 where it falls below: at 0 there is no such mean, and below it is another pooling.
    The reference implementation trains `p` at ten times the learning rate and without weight decay.

    Reference: Radenovic, Tolias, Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2019,
    section 3.2.

    Args:
        p: exponent to start from, greater than 0.
        per_channel: whether every channel has an exponent of its own. The published models share one.
        epsilon: smaller activations count as `epsilon`, greater than 0.
        **kwargs: of `keras_sare.layers.pooling.GlobalPooling` and `keras.layers.Layer`.

    Input shape: `[batch, height, width, channels]`, any floating dtype.

    Output shape: `[batch, channels]`, float32 (float64 for a float64 policy or input), each row of norm 1.

    Example:

    >>> descriptor = GeM(p=3)(features)
    """

    @plain_arguments
    def __init__(self, p: float = 3.0, per_channel: bool = False, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, value in (("p", p), ("epsilon", epsilon)):
            if not value > 0:
                raise ValueError(f"`{name}` must be greater than 0. Received: {name}={value}")
        self.p = p
        self.per_channel = per_channel
        self.epsilon = epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self.exponent = self.add_weight(
            name="p",
            shape=(input_shape[-1] if self.per_channel else 1,),
            initializer=keras.initializers.Constant(self.p),
            dtype=self.precision,
            autocast=False,
        )

    def pool(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        x = at_least(inputs, self.precision)
        p = ops.maximum(ops.cast(self.exponent, x.dtype), SMALLEST_EXPONENT)
        _, height, width, _ = ops.shape(x)
        total = ops.logsumexp(p * ops.log(ops.maximum(x, self.epsilon)), axis=(1, 2))
        return ops.exp((total - ops.log(ops.cast(height * width, x.dtype))) / p)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "p": self.p, "per_channel": self.per_channel, "epsilon": self.epsilon}
