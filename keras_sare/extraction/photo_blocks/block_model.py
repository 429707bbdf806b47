"""What turns the bytes of photos into descriptors."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class BlockModel(Protocol):
    """A model of photos' bytes, in two steps: threads prepare photos while the model describes others.

    Attributes:
        identity: digest by which an index knows it.
        name: for people.
        preprocessing: how photos are read for it, as an index keeps it; None where it reads files itself.
        block: photos that are described together, so that every engine makes the same batches of them.
        item_bytes: that a prepared photo takes at most.
    """

    identity: str
    name: str
    preprocessing: dict[str, Any] | None
    block: int
    item_bytes: int

    def prepare(self, contents: bytes) -> Any:
        """Prepares one photo; called by several threads.

        Raises:
            UnusablePhotoError: it cannot be decoded.
        """

    def describe(self, items: Sequence[Any]) -> tuple[np.ndarray, list[str]]:
        """Describes prepared photos, at most `block` of them.

        Returns:
            float32 [n, dim], and of each why it has no descriptor, empty where it has one.
        """
