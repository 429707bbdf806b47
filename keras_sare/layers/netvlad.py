"""NetVLAD: the trainable vector of locally aggregated descriptors."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sare.layers.normalize import l2_normalize


@keras.saving.register_keras_serializable(package="keras_sare")
class NetVLAD(keras.layers.Layer):
    """Soft-assigns local descriptors to clusters and sums their residuals to the cluster centres.

    Every spatial position of a feature map is a local descriptor. With soft assignments `A` [positions, clusters],
    descriptors `X` [positions, channels] and centres `C` [clusters, channels] the layer computes

        V = A^T X - diag(sum(A)) C

    then normalises each cluster's row (intra-normalisation), flattens cluster by cluster and normalises the whole. The
    tensor of residuals [batch, positions, clusters, channels] is never built.

    This is `vlad_preL2_intra`, the published form: descriptors are L2-normalised first and the assignment has no bias.
    All of it is computed in float32 under mixed precision, because the normalisations lose their meaning in float16.

    Centres are zero until `set_clusters` (or `keras_sare.models.initialise_netvlad`) gives them k-means centres;
    training without that gives poor results, see `is_initialised`.

    Reference: Arandjelovic, Gronat, Torii, Pajdla, Sivic, "NetVLAD: CNN architecture for weakly supervised place
    recognition", CVPR 2016, section 3.1; the initialisation is in its appendix A.

    Args:
        clusters: number of clusters K.
        **kwargs: of `keras.layers.Layer`.

    Input shape: `[batch, height, width, channels]`, any floating dtype.

    Output shape: `[batch, clusters * channels]`, float32 (float64 for a float64 policy), each row of norm 1. Element
    `k * channels + d` belongs to cluster `k` and channel `d`.

    Example:

    >>> layer = NetVLAD(clusters=64)
    >>> descriptor = layer(features)  # features [8, 30, 40, 512] -> [8, 32768]
    """

    def __init__(self, clusters: int = 64, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if clusters < 1:
            raise ValueError(f"`clusters` must be at least 1. Received: clusters={clusters}")
        self.clusters = clusters

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if len(input_shape) != 4 or input_shape[-1] is None:
            raise ValueError(
                "`NetVLAD` expects feature maps [batch, height, width, channels] with a known number of channels. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        channels = input_shape[-1]
        self.assignment = self.add_weight(name="assignment", shape=(channels, self.clusters), autocast=False)
        self.centroids = self.add_weight(
            name="centroids", shape=(self.clusters, channels), initializer="zeros", autocast=False
        )

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        channels = inputs.shape[-1]
        x = l2_normalize(ops.reshape(inputs, (ops.shape(inputs)[0], -1, channels)))
        assignment, centroids = (ops.cast(w, x.dtype) for w in (self.assignment, self.centroids))
        weights = ops.softmax(ops.matmul(x, assignment), axis=-1)
        mass = ops.expand_dims(ops.sum(weights, axis=1), -1)
        vlad = l2_normalize(ops.matmul(ops.transpose(weights, (0, 2, 1)), x) - mass * centroids)
        return l2_normalize(ops.reshape(vlad, (-1, self.clusters * channels)))

    def set_clusters(self, centroids: np.ndarray, alpha: float) -> None:
        """Sets centres and assignment so that soft assignment follows the clusters.

        The assignment is `alpha` times the L2-normalised centres (NetVLAD, appendix A).

        Args:
            centroids: [clusters, channels] cluster centres of L2-normalised local descriptors.
            alpha: sharpness of the soft assignment, greater than 0.

        Raises:
            ValueError: the shape does not fit, `alpha` is not positive or the layer has not been built.
        """
        if not self.built:
            raise ValueError("`NetVLAD.set_clusters` needs a built layer: call the layer on a feature map first.")
        if tuple(centroids.shape) != tuple(self.centroids.shape):
            raise ValueError(
                f"`centroids` must have shape {tuple(self.centroids.shape)} (clusters, channels). "
                f"Received: centroids.shape={tuple(centroids.shape)}"
            )
        if not alpha > 0:
            raise ValueError(f"`alpha` must be greater than 0. Received: alpha={alpha}")
        directions = centroids / np.linalg.norm(centroids, axis=1, keepdims=True)
        self.centroids.assign(centroids)
        self.assignment.assign(alpha * directions.T)

    @property
    def is_initialised(self) -> bool:
        """Whether the centres have been set: by k-means, by training or from a file."""
        return self.built and bool(ops.any(ops.not_equal(self.centroids, 0)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "clusters": self.clusters}
