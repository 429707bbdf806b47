"""The state dict in a file of PyTorch, taken array by array."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_sare.utils.formats.safe_pickle import StandIn

WRAPPERS = ("state_dict", "model_state_dict")
"""Keys under which training programs keep the state dict, beside epoch, optimiser and results."""


class StateDict:
    """Arrays by name, of which a reader takes what it expects, so that what is missing or left over is named.

    The words "module" that `DataParallel` puts into names are dropped.

    Args:
        content: what `read_torch` returned: a state dict, or a dictionary that holds one beside other things.
        path: of the file, for messages.

    Attributes:
        meta: what the file holds beside the state dict.

    Raises:
        ValueError: there is no state dict, or names in it differ by "module" only.
    """

    def __init__(self, content: Any, path: str) -> None:
        self.path = path
        self._refuse_network(content)
        if not isinstance(content, Mapping):
            raise ValueError(
                f"`path` must be a file with a state dict, not with a {type(content).__name__}: save the network's "
                f"`state_dict()`. Received: path={path!r}"
            )
        wrapper = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        state = content if wrapper is None else content[wrapper]
        self.meta: dict[str, Any] = {} if wrapper is None else {k: v for k, v in content.items() if k != wrapper}
        self._refuse_network(state)
        self._left = self._arrays(state)
        if not self._left:
            raise ValueError(
                f"`path` must be a file with a state dict; it holds no tensor under {list(content)[:10]}. "
                f"Received: path={path!r}"
            )

    def _refuse_network(self, content: Any) -> None:
        if isinstance(content, StandIn):
            raise ValueError(
                f"`path` must be a file with a state dict, not with a whole object, {type(content).__name__}: load it "
                f"in PyTorch and save its `state_dict()`. Received: path={self.path!r}"
            )

    def _arrays(self, state: Mapping[Any, Any]) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        for key, array in state.items():
            name = _without_module(key)
            if isinstance(array, np.ndarray) and name in arrays:
                raise ValueError(
                    f"`path` must be a file that has every array once; it has two called {name!r}, with and without "
                    f"'module'. Received: path={self.path!r}"
                )
            if isinstance(array, np.ndarray):
                arrays[name] = array
        return arrays

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def has(self, prefix: str) -> bool:
        """Whether a key that has not been taken begins with `prefix`."""
        return any(key.startswith(prefix) for key in self._left)

    def shape(self, key: str) -> tuple[int, ...] | None:
        """Shape of an array that has not been taken; None where there is none."""
        return self._left[key].shape if key in self._left else None

    def take(self, key: str, *shape: int | None) -> np.ndarray:
        """Takes an array out.

        Args:
            key: its name.
            *shape: what its shape must be; None for a size that may be any.

        Returns:
            The array, float32.

        Raises:
            ValueError: there is no such array, or its shape differs.
        """
        if key not in self._left:
            raise ValueError(
                f"`path` must be a file with {key!r}, which it does not have or has twice. {self.summary()} "
                f"Received: path={self.path!r}"
            )
        array = self._left.pop(key)
        if len(array.shape) != len(shape) or any(n not in (m, None) for m, n in zip(array.shape, shape, strict=True)):
            expected = ", ".join("any" if n is None else str(n) for n in shape)
            raise ValueError(
                f"`path` must be a file whose {key!r} has the shape ({expected}). "
                f"Received: shape={array.shape}, path={self.path!r}"
            )
        return np.asarray(array).astype("float32", copy=False)

    def drop(self, prefix: str) -> None:
        """Leaves out all arrays whose names begin with `prefix`."""
        self._left = {key: array for key, array in self._left.items() if not key.startswith(prefix)}

    def finish(self) -> None:
        """Checks that every array has been taken.

        Raises:
            ValueError: some are left over, so the network has parts that would be lost.
        """
        if self._left:
            raise ValueError(
                f"`path` must be a file of a network that is known whole; this one has more. {self.summary()} "
                f"Received: path={self.path!r}"
            )

    def summary(self, count: int = 8) -> str:
        """Names the first arrays that have not been taken, with their shapes."""
        first = ", ".join(f"{key} {array.shape}" for key, array in list(self._left.items())[:count])
        return f"Not taken yet, {len(self._left)} arrays: {first}{', ...' if len(self._left) > count else ''}."


def _without_module(key: str) -> str:
    return ".".join(word for word in str(key).split(".") if word != "module")
