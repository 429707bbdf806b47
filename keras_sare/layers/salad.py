"""SALAD: Sinkhorn algorithm for locally aggregated descriptors."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_sare.layers.normalize import l2_normalize
from keras_sare.layers.pooling import FeatureMapPooling
from keras_sare.utils.arguments import plain_arguments


@keras.saving.register_keras_serializable(package="keras_sare")
class SALAD(FeatureMapPooling):
    """Assigns local descriptors to clusters by optimal transport, sums them and adds a token of the whole image.

    Two small MLPs turn every position of a feature map into a local descriptor [cluster_dim] and a score for each
    cluster; a "dustbin" with one trained score takes positions that say nothing. `iterations` of Sinkhorn's algorithm,
    in logarithms, make assignments of which every position has mass 1, every cluster about 1 and the dustbin the rest.
    Each cluster's weighted sum is L2-normalised. A third MLP makes the global token [token_dim], which is L2-normalised
    too and comes first; then the whole is normalised. All of it is computed in float32 under mixed precision.

    The original's token is DINOv2's class token: give it beside the maps. Without one the mean of the map takes its
    place. A map with no more positions than clusters has nothing left for the dustbin, and the original's result is
    undefined; here the dustbin then has the mass of one position.

    Weights in order, with the original's names; a dense kernel [inputs, outputs] is the transposed weight there:

        dustbin                                     dust_bin
        token_hidden, token_output                  token_features.0, .2
        descriptor_hidden, descriptor_output        cluster_features.0, .3
        score_hidden, score_output                  score.0, .3

    Reference: Izquierdo, Civera, "Optimal Transport Aggregation for Visual Place Recognition", CVPR 2024, section 3.

    Args:
        clusters: number of clusters.
        cluster_dim: length of a local descriptor.
        token_dim: length of the global token.
        hidden: width of each MLP's hidden layer.
        dropout: share of the hidden layer that training drops in the MLPs of the positions.
        iterations: of Sinkhorn's algorithm.
        **kwargs: of `keras.layers.Layer`.

    Input shape: `[batch, height, width, channels]`, or a list of that and the token `[batch, token channels]`, any
    floating dtype.

    Output shape: `[batch, token_dim + cluster_dim * clusters]`, float32 (float64 for a float64 policy), each row of
    norm 1. Element `token_dim + d * clusters + k` belongs to cluster `k` and its component `d`.

    Example:

    >>> descriptor = SALAD()([patches, class_token])  # [8, 16, 16, 768] and [8, 768] -> [8, 8448]
    """

    @plain_arguments
    def __init__(
        self,
        clusters: int = 64,
        cluster_dim: int = 128,
        token_dim: int = 256,
        hidden: int = 512,
        dropout: float = 0.3,
        iterations: int = 3,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.clusters = clusters
        self.cluster_dim = cluster_dim
        self.token_dim = token_dim
        self.hidden = hidden
        self.dropout = dropout
        self.iterations = iterations
        for name in ("clusters", "cluster_dim", "token_dim", "hidden", "iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {name}={getattr(self, name)}")
        if not 0 <= dropout < 1:
            raise ValueError(f"`dropout` must be at least 0 and less than 1. Received: dropout={dropout}")
        self.token_hidden, self.token_output = self._mlp("token", token_dim)
        self.descriptor_hidden, self.descriptor_output = self._mlp("descriptor", cluster_dim)
        self.score_hidden, self.score_output = self._mlp("score", clusters)
        self.drop = keras.layers.Dropout(dropout, dtype=self.precision)

    def _mlp(self, name: str, outputs: int) -> tuple[keras.layers.Dense, keras.layers.Dense]:
        return (
            keras.layers.Dense(self.hidden, "relu", dtype=self.precision, name=f"{name}_hidden"),
            keras.layers.Dense(outputs, dtype=self.precision, name=f"{name}_output"),
        )

    def build(self, input_shape: Sequence[Any]) -> None:
        maps, token = _maps_and_token(input_shape, isinstance(input_shape[0], list | tuple))
        super().build(maps)
        if token is not None and (len(token) != 2 or token[-1] is None):
            raise ValueError(
                "`SALAD` expects a token [batch, channels] with a known number of channels beside the feature maps. "
                f"Received: token shape={tuple(token)}"
            )
        self.dustbin = self.add_weight(
            name="dustbin", shape=(), initializer="ones", dtype=self.precision, autocast=False
        )
        self.token_hidden.build((None, maps[-1] if token is None else token[-1]))
        for layer in (self.descriptor_hidden, self.score_hidden):
            layer.build((None, None, maps[-1]))
        for layer in (self.token_output, self.descriptor_output, self.score_output):
            layer.build((None, self.hidden))

    def descriptor_length(self, channels: int) -> int:
        return self.token_dim + self.cluster_dim * self.clusters

    def descriptor_dtype(self, dtype: str) -> str:
        return self.precision

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple[int | None, ...]:
        maps, _ = _maps_and_token(input_shape, isinstance(input_shape[0], list | tuple))
        return super().compute_output_shape(maps)

    def compute_output_spec(self, inputs: keras.KerasTensor | Sequence[keras.KerasTensor]) -> keras.KerasTensor:
        maps, _ = _maps_and_token(inputs, isinstance(inputs, list | tuple))
        return super().compute_output_spec(maps)

    def call(self, inputs: keras.KerasTensor | Sequence[keras.KerasTensor]) -> keras.KerasTensor:
        maps, token = _maps_and_token(inputs, isinstance(inputs, list | tuple))
        _, height, width, channels = ops.shape(maps)
        x = ops.reshape(ops.cast(maps, self.precision), (-1, height * width, channels))
        token = ops.mean(x, axis=1) if token is None else ops.cast(token, self.precision)
        descriptors = self.descriptor_output(self.drop(self.descriptor_hidden(x)))
        scores = self.score_output(self.drop(self.score_hidden(x)))
        sums = ops.matmul(ops.transpose(descriptors, (0, 2, 1)), self.assignments(scores, height * width))
        local = ops.reshape(l2_normalize(sums, axis=1), (-1, self.cluster_dim * self.clusters))
        token = l2_normalize(self.token_output(self.token_hidden(token)))
        return l2_normalize(ops.concatenate([token, local], axis=-1))

    def assignments(self, scores: keras.KerasTensor, positions: Any) -> keras.KerasTensor:
        """Transport plan [batch, positions, clusters] of scores of that shape; `positions` may be a tensor."""
        dustbin = ops.zeros_like(scores[..., :1]) + self.dustbin
        scores = ops.concatenate([scores, dustbin], axis=-1)
        rest = ops.log(ops.cast(ops.maximum(positions - self.clusters, 1), scores.dtype))
        log_mass = ops.concatenate([ops.zeros((self.clusters,), scores.dtype), ops.reshape(rest, (1,))])
        of_position = ops.zeros_like(scores[..., :1])
        # A constant added to `of_position` is taken off `of_cluster`, so the masses need no common scale.
        for _ in range(self.iterations):
            of_cluster = log_mass - ops.logsumexp(scores + of_position, axis=1, keepdims=True)
            of_position = -ops.logsumexp(scores + of_cluster, axis=2, keepdims=True)
        return ops.exp(scores + of_cluster + of_position)[..., : self.clusters]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "clusters": self.clusters,
            "cluster_dim": self.cluster_dim,
            "token_dim": self.token_dim,
            "hidden": self.hidden,
            "dropout": self.dropout,
            "iterations": self.iterations,
        }


def _maps_and_token(inputs: Any, is_pair: bool) -> tuple[Any, Any]:
    """Splits inputs, or their shapes, in maps and token, which is None where there is none."""
    if not is_pair:
        return inputs, None
    if len(inputs) != 2:
        raise ValueError(f"`SALAD` expects feature maps, or [maps, token]. Received: {len(inputs)} inputs")
    return inputs[0], inputs[1]
