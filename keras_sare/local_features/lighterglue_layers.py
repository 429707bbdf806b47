"""What LighterGlue is made of: attention within a photo and between two, and the assignment of matches.

States of keypoints are [n, 96] in all of it; there is one head of attention.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_sare.models.importers.formats.state_dict import StateDict

DIM = 96
"""Of a keypoint's state."""
_EPSILON = 1e-5

Linear = Callable[[Any], Any]


def take_linear(state: StateDict, prefix: str, inputs: int = DIM, outputs: int = DIM) -> Linear:
    """Takes a fully connected layer out of a state dict."""
    weight = state.take(f"{prefix}.weight", outputs, inputs)
    return _linear(weight, state.take(f"{prefix}.bias", outputs))


def position_encoding(frequencies: np.ndarray, positions: np.ndarray) -> tuple[Any, Any]:
    """Rotary encoding of positions (LightGlue, section 3.2): cosines and sines [n, 96] of 48 learned frequencies.

    Args:
        frequencies: [48, 2].
        positions: float32 [n, 2] in -1..1.
    """
    angles = np.repeat(positions @ frequencies.T, 2, axis=1)
    return ops.convert_to_tensor(np.cos(angles)), ops.convert_to_tensor(np.sin(angles))


class SelfAttention:
    """Keypoints of a photo look at each other, knowing how they lie.

    Args:
        state: weights, of which it takes its own.
        prefix: of their names.
    """

    def __init__(self, state: StateDict, prefix: str) -> None:
        weight = state.take(f"{prefix}.Wqkv.weight", 3 * DIM, DIM)
        bias = state.take(f"{prefix}.Wqkv.bias", 3 * DIM)
        # Queries, keys and values take turns.
        self._query, self._key, self._value = (_linear(weight[i::3], bias[i::3]) for i in range(3))
        self._out = take_linear(state, f"{prefix}.out_proj")
        self._update = _Update(state, prefix)

    def __call__(self, x: Any, encoding: tuple[Any, Any]) -> Any:
        """States after it."""
        query = _rotated(self._query(x), encoding)
        key = _rotated(self._key(x), encoding)
        seen = ops.softmax(ops.matmul(query, ops.transpose(key)) / DIM**0.5)
        return self._update(x, self._out(ops.matmul(seen, self._value(x))))


class CrossAttention:
    """Keypoints of two photos look at each other.

    Args:
        state: weights, of which it takes its own.
        prefix: of their names.
    """

    def __init__(self, state: StateDict, prefix: str) -> None:
        self._key = take_linear(state, f"{prefix}.to_qk")
        self._value = take_linear(state, f"{prefix}.to_v")
        self._out = take_linear(state, f"{prefix}.to_out")
        self._update = _Update(state, prefix)

    def __call__(self, one: Any, other: Any) -> tuple[Any, Any]:
        """States of both after it."""
        similarities = ops.matmul(self._key(one), ops.transpose(self._key(other))) / DIM**0.5
        from_other = ops.matmul(ops.softmax(similarities), self._value(other))
        from_one = ops.matmul(ops.softmax(ops.transpose(similarities)), self._value(one))
        return self._update(one, self._out(from_other)), self._update(other, self._out(from_one))


class Assignment:
    """Probabilities that keypoints match (LightGlue, section 3.3).

    Args:
        state: weights, of which it takes its own.
        prefix: of their names.
    """

    def __init__(self, state: StateDict, prefix: str) -> None:
        self._matchable = take_linear(state, f"{prefix}.matchability", outputs=1)
        self._project = take_linear(state, f"{prefix}.final_proj")

    def matchability(self, x: Any) -> Any:
        """Probability of each keypoint to have a match at all, float32 [n]."""
        return ops.sigmoid(self._matchable(x))[:, 0]

    def __call__(self, one: Any, other: Any) -> Any:
        """Logarithms of the probabilities of all pairs, float32 [n, m]."""
        similarities = ops.matmul(self._project(one), ops.transpose(self._project(other))) / DIM**0.5
        matchable = ops.log_sigmoid(self._matchable(one)) + ops.transpose(ops.log_sigmoid(self._matchable(other)))
        both = ops.log_softmax(similarities, axis=1) + ops.log_softmax(similarities, axis=0)
        return both + matchable


class _Update:
    """What a keypoint makes of a message: a perceptron of two layers, added to its state."""

    def __init__(self, state: StateDict, prefix: str) -> None:
        self._first = take_linear(state, f"{prefix}.ffn.0", 2 * DIM, 2 * DIM)
        self._scale = ops.convert_to_tensor(state.take(f"{prefix}.ffn.1.weight", 2 * DIM))
        self._shift = ops.convert_to_tensor(state.take(f"{prefix}.ffn.1.bias", 2 * DIM))
        self._last = take_linear(state, f"{prefix}.ffn.3", 2 * DIM)

    def __call__(self, x: Any, message: Any) -> Any:
        hidden = self._first(ops.concatenate([x, message], axis=1))
        mean, variance = ops.moments(hidden, axes=1, keepdims=True)
        normalized = (hidden - mean) / ops.sqrt(variance + _EPSILON) * self._scale + self._shift
        return x + self._last(ops.gelu(normalized, approximate=False))


def _linear(weight: np.ndarray, bias: np.ndarray) -> Linear:
    factor = ops.convert_to_tensor(np.ascontiguousarray(weight.T))
    offset = ops.convert_to_tensor(np.ascontiguousarray(bias))
    return lambda x: ops.matmul(x, factor) + offset


def _rotated(x: Any, encoding: tuple[Any, Any]) -> Any:
    """Turns each pair of entries (a, b) by its angle."""
    cosines, sines = encoding
    pairs = ops.reshape(x, (-1, DIM // 2, 2))
    turned = ops.stack([-pairs[:, :, 1], pairs[:, :, 0]], axis=2)
    return x * cosines + ops.reshape(turned, (-1, DIM)) * sines
