"""The pickle inside a PyTorch file, read without running anything that it names."""

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from typing import IO, Any

import numpy as np

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


def read_pickle(file: IO[bytes], storage: Storage) -> Any:
    """Reads one pickle; see `TorchUnpickler`. The file is left behind its end.

    Raises:
        pickle.UnpicklingError: the pickle wants something that no file of weights needs.
        Exception: it is damaged; of which type depends on where.
    """
    start = file.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        # Python would make room for as many remembered objects as the largest number says.
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > count:
            raise pickle.UnpicklingError(f"it numbers its object {count} as {argument}")
    end = file.tell()
    file.seek(start)
    return TorchUnpickler(io.BytesIO(file.read(end - start)), storage).load()


class TorchUnpickler(pickle.Unpickler):
    """Reads containers, numbers, tensors and numpy arrays. Tensors become numpy arrays that look into the file.

    No array can be written to, because a pickle could go on to do it.

    A pickle may name any function of Python with arguments for it. Here a name is looked up in a table and nowhere
    else: no module is imported and no attribute read. What the table does not hold becomes an `Inert` where the pickle
    only makes an object of it, and an error where it calls it.

    Args:
        file: the pickle.
        storage: gives the elements of a tensor's storage.
    """

    def __init__(self, file: IO[bytes], storage: Storage) -> None:
        # Files that Python 2 wrote keep numpy's bytes in strings.
        super().__init__(file, encoding="latin1")
        self._storage = storage
        # Made anew for each file: a pickle cannot alter them, and what it did to them would not outlive it.
        budget = _Budget(4 * _size_left(file) + 2**20)
        self._admitted = {name: _Call(function, budget) for name, function in CALLS.items()}

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}".replace("__builtin__.", "builtins.")
        if module in ("torch", "torch.cuda") and name in STORAGES:
            return STORAGES[name]
        return self._admitted.get(full) or _InertType(full, (Inert,), {"__slots__": ()})

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, *rest = pid
        if kind in ("module", b"module"):
            raise pickle.UnpicklingError("it holds a whole network with its code; save its `state_dict()` instead")
        element, key, _, count, *view = rest
        if kind not in ("storage", b"storage") or element not in STORAGES.values() or not _counts(count):
            raise pickle.UnpicklingError(f"it refers to something unknown, {str(pid)[:200]}")
        elements = self._storage(str(key), element, count)
        if view and view[0] is not None:
            _, start, size = view[0]
            elements = elements[start : start + size]
        elements.flags.writeable = False
        return elements


class _InertType(type):
    """Type of the types that stand for unknown names: they cannot be called and cannot be changed."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise pickle.UnpicklingError(
            f"it wants to call {cls.__name__}, which no file of weights needs; refused. If you trust the file, load it "
            "in PyTorch and save the network's `state_dict()` alone"
        )

    def __setattr__(cls, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f"it wants to change {cls.__name__}; refused")


class Inert(dict, metaclass=_InertType):
    """Stands for an object of an unknown class. The name of its type is the name in the file; its state is dropped."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        """Drops the item of an unknown kind of list."""

    def extend(self, items: Any) -> None:
        """Drops the items of an unknown kind of list."""

    def add(self, item: Any) -> None:
        """Drops the item of an unknown kind of set."""


class _Budget:
    """Of elements that calls may copy: else a pickle could have one long list copied over and over."""

    def __init__(self, count: int) -> None:
        self._left = count

    def spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise pickle.UnpicklingError("it makes far more of its content than there is in the file")


class _Call:
    """A function that a pickle may call, but neither take out nor alter."""

    __slots__ = ("_budget", "_function")
    _function: Callable[..., Any]
    _budget: _Budget

    def __init__(self, function: Callable[..., Any], budget: _Budget) -> None:
        object.__setattr__(self, "_function", function)
        object.__setattr__(self, "_budget", budget)

    def __call__(self, *args: Any) -> Any:
        self._budget.spend(sum(len(a) for a in args if isinstance(a, str | list | tuple | dict)))
        made = self._function(*args)
        if type(made) is _Array:
            made.budget = self._budget
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("it wants to change a function; refused")


class _Dict(dict):
    """A dictionary that takes and drops the attributes that torch hangs on a state dict."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class _Dtype:
    """A numpy dtype of plain numbers. numpy's own would take flags from the pickle that its C code then trusts."""

    __slots__ = ("dtype",)

    def __init__(self, name: str, *_: Any) -> None:
        if not re.fullmatch(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16)", name):
            raise pickle.UnpicklingError(f"it holds a numpy array of the type {name!r}; only numbers are admitted")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """A numpy array whose pickled state is checked before numpy's C code sees it, and set once.

    A second state would free the elements of the first, into which something else may look by then.
    """

    budget: _Budget

    def __setstate__(self, state: Any) -> None:
        if not self.flags.writeable:
            raise pickle.UnpicklingError("it sets the elements of a numpy array twice")
        _, shape, dtype, fortran, data = state
        self.budget.spend(len(data))
        data = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes) or not _counts(*shape):
            raise pickle.UnpicklingError("it holds a numpy array of something other than numbers")
        if math.prod(shape) * dtype.dtype.itemsize != len(data):
            raise pickle.UnpicklingError(f"its numpy array of shape {shape} has {len(data)} bytes")
        # numpy's own types ask for a numpy.bool here, its code for a bool.
        super().__setstate__((1, shape, dtype.dtype, bool(fortran), data))  # type: ignore[arg-type]
        # The elements may be those of the bytes object itself, which Python shares and takes for constant.
        self.flags.writeable = False


def _size_left(file: IO[bytes]) -> int:
    start = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(start)
    return end - start


def _of_items(kind: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a container of plain ones only: an array would give an object for each of its elements."""

    def make(*items: Any) -> Any:
        if not all(type(i) in (list, tuple, dict) for i in items):
            raise pickle.UnpicklingError(f"it makes a {kind.__name__} of something other than a list")
        return kind(*items)

    return make


def _counts(*numbers: Any) -> bool:
    return all(type(n) is int and n >= 0 for n in numbers)


def _tensor(elements: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> np.ndarray:
    # A numpy array of the pickle would not do: what is made here does not keep its elements alive.
    if type(elements) is not np.ndarray or elements.ndim != 1:
        raise pickle.UnpicklingError(f"it holds a tensor of something other than a storage, {type(elements).__name__}")
    if not _counts(offset, *size, *stride) or len(size) != len(stride):
        raise pickle.UnpicklingError(f"it holds a tensor of shape {size} with strides {stride} from {offset}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if all(size) else -1
    if last >= len(elements):
        raise pickle.UnpicklingError(
            f"its tensor of shape {size} with strides {stride} reaches element {last} of {len(elements)}"
        )
    if math.prod(size) > len(elements):
        raise pickle.UnpicklingError(
            f"its tensor of shape {size} repeats the {len(elements)} elements of its storage; in PyTorch, save a "
            "`contiguous()` one"
        )
    strides = [step * elements.itemsize for step in stride]
    # numpy checks strides against the array's memory, so a mistake above would be an error and nothing worse.
    tensor = np.ndarray(size, elements.dtype, elements, offset * elements.itemsize if all(size) else 0, strides)
    tensor.flags.writeable = False
    return tensor


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype.dtype)[0]


def _size(sizes: tuple[int, ...] = ()) -> tuple[int, ...]:
    if not isinstance(sizes, tuple | list) or len(sizes) > MAX_RANK or not _counts(*sizes):
        raise pickle.UnpicklingError("it holds a torch.Size of something other than a few numbers")
    return tuple(sizes)


def _device(kind: str, index: int | None = None) -> str:
    if type(kind) is not str or type(index) not in (int, type(None)):
        raise pickle.UnpicklingError("it holds a torch.device of something other than a name and a number")
    return kind if index is None else f"{kind[:MAX_RANK]}:{index}"


def _bytes(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it holds bytes in the encoding {encoding!r}")
    return text.encode("latin1")


CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "torch.Size": _size,
    "torch.device": _device,
    "collections.OrderedDict": _of_items(_Dict),
    "collections.Counter": _of_items(_Dict),
    "collections.defaultdict": lambda *_: _Dict(),
    "builtins.set": _of_items(set),
    "builtins.frozenset": _of_items(frozenset),
    "_codecs.encode": _bytes,
    "numpy.dtype": _Dtype,
    **{
        f"numpy.{package}.multiarray.{name}": function
        for package in ("core", "_core")
        for name, function in (("scalar", _scalar), ("_reconstruct", lambda *_: _Array(0)))
    },
}
"""Everything that a pickle can call, by the name that it gives."""
