"""NetVLAD: the trainable vector of locally aggregated descriptors."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sare.layers.normalize import EPSILON, at_least, check_normalization, l2_normalize
from keras_sare.layers.pooling import FeatureMapPooling
from keras_sare.utils.arguments import plain_arguments

METHODS = (
    "vlad_preL2_intra",
    "vlad_preL2",
    "vlad_intra",
    "vlad",
    "vladv2_preL2_intra",
    "vladv2_preL2",
    "vladv2_intra",
    "vladv2",
)
"""What the published code calls its methods; its `max` and `avg` are the layers `MAC` and `SPoC`."""


@keras.saving.register_keras_serializable(package="keras_sare")
class NetVLAD(FeatureMapPooling):
    """Soft-assigns local descriptors to clusters and sums their residuals to the cluster centres.

    Every spatial position of a feature map is a local descriptor. With descriptors `X` [positions, channels], soft
    assignments `A = softmax(X w + b)` [positions, clusters] and centres `C` [clusters, channels] the layer computes

        V = A^T X - diag(sum(A)) C

    then normalises each cluster's row (intra-normalisation), flattens cluster by cluster and normalises the whole. The
    tensor of residuals [batch, positions, clusters, channels] is never built.

    The words of a method's name say what is done: `preL2` L2-normalises the local descriptors first, `intra` normalises
    each cluster's row, and `vladv2` has an assignment bias b where `vlad` has none. `vlad_preL2_intra` is the published
    form. All of it is computed in float32 under mixed precision, because the normalisations lose their meaning in
    float16.

    Sharp assignments (k-means centres: alpha of 100 and more) leave a cluster that no part of a photo looks like with
    a sum of residuals of 1e-6 and less. `normalization` says what becomes of it: the MATLAB code, and this layer unless
    told otherwise, lets it fade out; the PyTorch ports give its row norm 1 like any other's. The same weights give
    descriptors with cosines of 0.95 to 0.99 under the two rules, so a model keeps the rule that it was trained with.

    Centres are zero until `set_clusters` (or `keras_sare.models.initialise_netvlad`) gives them k-means centres;
    training without that gives poor results, see `is_initialised`. Weights are in the order assignment w
    [channels, clusters], centres C, and for `vladv2` bias b [clusters].

    Reference: Arandjelovic, Gronat, Torii, Pajdla, Sivic, "NetVLAD: CNN architecture for weakly supervised place
    recognition", CVPR 2016, section 3.1; the initialisation is in its appendix A. The paper's formula is `vladv2`; the
    published models are `vlad`.

    Args:
        clusters: number of clusters K.
        method: one of `METHODS`.
        normalization: of local descriptors, clusters and the whole: "matlab", x / sqrt(1e-12 + |x|^2), or "torch",
            x / max(|x|, 1e-12), what models trained by OpenIBL, pytorch-NetVlad, Patch-NetVLAD and the VG benchmark,
            and hloc's extractor, want.
        **kwargs: of `keras.layers.Layer`.

    Input shape: `[batch, height, width, channels]`, any floating dtype.

    Output shape: `[batch, clusters * channels]`, float32 (float64 for a float64 policy or input), each row of norm 1.
    Element `k * channels + d` belongs to cluster `k` and channel `d`.

    Example:

    >>> layer = NetVLAD(clusters=64)
    >>> descriptor = layer(features)  # features [8, 30, 40, 512] -> [8, 32768]
    """

    @plain_arguments
    def __init__(
        self, clusters: int = 64, method: str = "vlad_preL2_intra", normalization: str = "matlab", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if clusters < 1:
            raise ValueError(f"`clusters` must be at least 1. Received: clusters={clusters}")
        if method not in METHODS:
            raise ValueError(
                f"`method` must be one of {', '.join(METHODS)} (`max` and `avg` are the layers MAC and SPoC). "
                f"Received: method={method!r}"
            )
        check_normalization(normalization)
        self.clusters = clusters
        self.method = method
        self.normalization = normalization
        words = method.split("_")
        self.has_bias = "vladv2" in words
        self.normalises_descriptors = "preL2" in words
        self.normalises_clusters = "intra" in words

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        channels = input_shape[-1]
        self.assignment = self.add_weight(
            name="assignment", shape=(channels, self.clusters), dtype=self.precision, autocast=False
        )
        self.centroids = self.add_weight(
            name="centroids",
            shape=(self.clusters, channels),
            initializer="zeros",
            dtype=self.precision,
            autocast=False,
        )
        if self.has_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.clusters,), initializer="zeros", dtype=self.precision, autocast=False
            )

    def descriptor_length(self, channels: int) -> int:
        return self.clusters * channels

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        channels = inputs.shape[-1]
        x = at_least(ops.reshape(inputs, (ops.shape(inputs)[0], -1, channels)), self.precision)
        if self.normalises_descriptors:
            x = l2_normalize(x, normalization=self.normalization)
        scores = ops.matmul(x, ops.cast(self.assignment, x.dtype))
        if self.has_bias:
            scores = scores + ops.cast(self.bias, x.dtype)
        weights = ops.softmax(scores, axis=-1)
        mass = ops.expand_dims(ops.sum(weights, axis=1), -1)
        vlad = ops.matmul(ops.transpose(weights, (0, 2, 1)), x) - mass * ops.cast(self.centroids, x.dtype)
        if self.normalises_clusters:
            vlad = l2_normalize(vlad, normalization=self.normalization)
        return l2_normalize(ops.reshape(vlad, (-1, self.clusters * channels)), normalization=self.normalization)

    @plain_arguments
    def unit_assignment(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the assignment that follows the clusters with sharpness alpha = 1.

        `vlad` compares descriptors with the directions of the centres: w = c / |c|, b = 0. `vladv2` compares their
        squared distances to the centres: w = 2 c, b = -|c|^2.

        Args:
            centroids: [clusters, channels] cluster centres.

        Returns:
            w [channels, clusters] and b [clusters].
        """
        squared_norms = np.sum(np.square(centroids), axis=1)
        if self.has_bias:
            return 2 * centroids.T, -squared_norms
        return centroids.T / np.sqrt(squared_norms + EPSILON), np.zeros_like(squared_norms)

    @plain_arguments
    def set_clusters(self, centroids: np.ndarray, alpha: float) -> None:
        """Sets centres and assignment so that soft assignment follows the clusters.

        The assignment is `alpha` times `unit_assignment` (NetVLAD, appendix A).

        Args:
            centroids: [clusters, channels] cluster centres of the local descriptors, L2-normalised where the method
                says so.
            alpha: sharpness of the soft assignment, greater than 0.

        Raises:
            ValueError: the shape does not fit, `alpha` is not positive, something is not finite or the layer has not
                been built.
        """
        if not self.built:
            raise ValueError("`NetVLAD.set_clusters` needs a built layer: call the layer on a feature map first.")
        if tuple(centroids.shape) != tuple(self.centroids.shape):
            raise ValueError(
                f"`centroids` must have shape {tuple(self.centroids.shape)} (clusters, channels). "
                f"Received: centroids.shape={tuple(centroids.shape)}"
            )
        if not 0 < alpha < math.inf or not np.isfinite(centroids).all():
            raise ValueError(
                "`alpha` must be greater than 0 and finite, and so must `centroids` be; look for images that are all "
                f"alike, or for NaN in the network before. Received: alpha={alpha}, "
                f"{int((~np.isfinite(centroids)).sum())} centroids' elements not finite"
            )
        assignment, bias = self.unit_assignment(centroids)
        self.centroids.assign(centroids)
        self.assignment.assign(alpha * assignment)
        if self.has_bias:
            self.bias.assign(alpha * bias)

    @property
    def is_initialised(self) -> bool:
        """Whether the centres have been set: by k-means, by training or from a file."""
        return self.built and bool(ops.any(ops.not_equal(self.centroids, 0)))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "clusters": self.clusters,
            "method": self.method,
            "normalization": self.normalization,
        }
