"""The pickle inside a PyTorch file, read without running anything that it names."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_sare.utils.formats.pickle_operations import Stream
from keras_sare.utils.formats.pickled_arrays import ARRAY_CALLS, ARRAY_STATES
from keras_sare.utils.formats.pickled_containers import CONTAINER_CALLS, RefusedError, shown
from keras_sare.utils.formats.safe_pickle import Admitted, StandIn, read_pickle

STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
"""Element type of each of torch's storages: numpy's name for it, little-endian, or "bfloat16"."""

Storage = Callable[[str, str, int], np.ndarray]
"""(key, value of `STORAGES`, number of elements) -> all elements of a storage, one-dimensional."""

MAX_RANK = 64
"""Of arrays, numpy's limit as well as torch's."""


class _Elements(np.ndarray):
    """All elements of a storage. A numpy array that the pickle makes is of another type, and no storage of a tensor."""


def read_torch_pickle(stream: Stream, storage: Storage) -> Any:
    """Reads containers, numbers, tensors and numpy arrays. Tensors become numpy arrays that look into the file.

    A name is looked up in a table and nowhere else, see `keras_sare.utils.formats.safe_pickle`. What is not in the
    table becomes a `StandIn` where the pickle only makes an object of it, and an error where it calls it. No array can
    be written to, because a pickle could go on to do it.

    Args:
        stream: the pickle; it is left behind its end.
        storage: gives the elements of a tensor's storage.

    Raises:
        ValueError: the pickle wants something that no file of weights needs, or is damaged; other errors of the
            standard library where it is damaged.
    """

    def elements(pid: Any) -> np.ndarray:
        return _elements(pid, storage)

    constants = {f"{module} {name}": kind for module in ("torch", "torch.cuda") for name, kind in STORAGES.items()}
    try:
        return read_pickle(stream, Admitted(CALLS, constants, _STATES, elements, stand_ins=True))
    except RefusedError as refusal:
        raise ValueError(
            f"it {refusal}, which no file of weights needs; refused. If you trust the file, load it in PyTorch and "
            "save the network's `state_dict()` alone"
        ) from refusal


def _elements(pid: Any, storage: Storage) -> np.ndarray:
    """What torch refers to outside of the pickle: ("storage", type, key, device, count, perhaps a part of it)."""
    kind, *rest = pid
    if kind in ("module", b"module"):
        raise ValueError("it holds a whole network with its code; save its `state_dict()` instead")
    element, key, _, count, *view = rest
    known = kind in ("storage", b"storage") and type(key) in (str, int) and element in STORAGES.values()
    if not known or not _counts(count):
        raise ValueError(f"it refers to something unknown, {shown(kind)}")
    elements = storage(str(key), element, count)
    if view and view[0] is not None:
        _, start, size = view[0]
        elements = elements[start : start + size]
    elements.flags.writeable = False
    return elements.view(_Elements)


def _counts(*numbers: Any) -> bool:
    return all(type(n) is int and n >= 0 for n in numbers)


def _tensor(elements: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> np.ndarray:
    # A numpy array of the pickle would not do: what is made here does not keep its elements alive.
    if type(elements) is not _Elements or elements.ndim != 1:
        raise RefusedError(f"holds a tensor of something other than a storage, {type(elements).__name__}")
    if not _counts(offset, *size, *stride) or len(size) != len(stride):
        raise RefusedError(
            f"holds a tensor of shape {_text(size)} with strides {_text(stride)} from {_text((offset,))}"
        )
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if all(size) else -1
    if last >= len(elements):
        raise ValueError(f"its tensor of shape {size} with strides {stride} reaches element {last} of {len(elements)}")
    if math.prod(size) > len(elements):
        raise ValueError(
            f"its tensor of shape {size} repeats the {len(elements)} elements of its storage; in PyTorch, save a "
            "`contiguous()` one"
        )
    strides = [step * elements.itemsize for step in stride]
    # numpy checks strides against the array's memory, so a mistake above would be an error and nothing worse.
    tensor = np.ndarray(size, elements.dtype, elements, offset * elements.itemsize if all(size) else 0, strides)
    tensor.flags.writeable = False
    return tensor


def _text(numbers: Any) -> str:
    """Of a few numbers, for messages; the text of anything else may be endless."""
    few = type(numbers) is tuple and len(numbers) <= MAX_RANK and all(type(n) is int for n in numbers)
    return str(numbers) if few else shown(numbers)


def _size(sizes: tuple[int, ...] = ()) -> tuple[int, ...]:
    if not isinstance(sizes, tuple | list) or len(sizes) > MAX_RANK or not _counts(*sizes):
        raise RefusedError("holds a torch.Size of something other than a few numbers")
    return tuple(sizes)


def _device(kind: str, index: int | None = None) -> str:
    if type(kind) is not str or type(index) not in (int, type(None)):
        raise RefusedError("holds a torch.device of something other than a name and a number")
    return kind if index is None else f"{kind[:MAX_RANK]}:{index}"


def _drop_state(_: Any, state: Any) -> None:
    """Drops the attributes that torch hangs on a state dict, and the state of objects of unknown classes."""


CALLS: dict[str, Callable[..., Any]] = {
    **CONTAINER_CALLS,
    **ARRAY_CALLS,
    "torch._utils _rebuild_tensor": _tensor,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils _rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "torch Size": _size,
    "torch device": _device,
    "collections Counter": CONTAINER_CALLS["collections OrderedDict"],
    "collections defaultdict": lambda *_: {},
}
"""Everything that a pickle can call, by the name that it gives."""

_STATES: dict[type, Callable[[Any, Any], None]] = {**ARRAY_STATES, dict: _drop_state, StandIn: _drop_state}
