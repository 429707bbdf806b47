"""Pickles of plain data, read without running anything that they name."""

import codecs
import io
import math
import os
import pickletools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


class _RefusedError(ValueError):
    """The pickle asks for something that is no plain data."""


def load_plain_pickle(path: str | os.PathLike[str]) -> Any:
    """Reads a pickle of plain data from anywhere: no code is run, no module imported, no attribute read.

    A pickle is a program, and Python's own `pickle.load` runs whatever function it names. Here a small machine of its
    own carries out the operations that build containers; of all functions it knows a handful by name, those that numpy
    and Python write for arrays and sets. Whatever else a pickle asks for is refused.

    Args:
        path: a pickle of any protocol, 0 to 5, by Python 2 or 3. Strings of Python 2 become text by Latin-1.

    Returns:
        What the pickle holds: dicts, lists, tuples, sets, text, bytes, numbers, None, and numpy arrays and scalars of
        numbers, truth values, text or bytes. Arrays cannot be written to; a bytearray comes as bytes, an OrderedDict as
        a dict.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the pickle asks for anything else, or is damaged.
    """
    return parse_plain_pickle(Path(path).read_bytes(), os.fspath(path))


def parse_plain_pickle(contents: bytes, path: str) -> Any:
    """Reads a pickle of plain data that is in memory already.

    Args:
        contents: the pickle.
        path: where it came from, for messages.

    Returns:
        As `load_plain_pickle`.

    Raises:
        ValueError: as `load_plain_pickle`.
    """
    try:
        return _Machine(contents).run()
    except _RefusedError as refusal:
        raise ValueError(
            f"`path` must be a pickle of plain data (containers, text, numbers, numpy arrays); this one {refusal}; "
            f"refused. If you trust it, load it where it was written and save plain data. Received: path={path}"
        ) from refusal
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"`path` must be a whole pickle; this file is damaged or none ({error}). Download it again. "
            f"Received: path={path}"
        ) from error


class _Machine:
    """Carries out the operations of one pickle. Its functions get plain data and `_Name`, `_Dtype`, nothing else."""

    def __init__(self, contents: bytes) -> None:
        self._contents = contents
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        # Of elements that calls may copy: else a pickle could have one long list copied over and over.
        self._budget = 4 * len(contents) + 2**20

    def run(self) -> Any:
        for name, argument in _operations(self._contents):
            if name in _PUSHED:
                self._stack.append(argument)
            elif name in _MEMORY:
                self._use_memory(name, argument)
            elif name in _ACTIONS:
                _ACTIONS[name](self, argument)
            elif name == "STOP":
                return _checked_plain(self._pop())
            elif name not in ("PROTO", "FRAME"):
                raise _RefusedError(f"wants {name} {'' if argument is None else argument!s:.200}".rstrip())
        raise ValueError("it does not end")

    def push(self, item: Any) -> None:
        self._stack.append(item)

    def take(self, count: int) -> list[Any]:
        """Takes the last items off the stack, the uppermost last."""
        return [self._pop() for _ in range(count)][::-1]

    def mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def above_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def drop(self, _: Any) -> None:
        # As in Python's own: a mark on top of the stack is an item too.
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._pop()

    def extend(self, items: list[Any]) -> None:
        self._top(list).extend(items)

    def update(self, items: list[Any]) -> None:
        self._top(dict).update(_pairs(items))

    def add(self, items: list[Any]) -> None:
        self._top(set).update(map(_checked_key, items))

    def name(self, _: Any) -> None:
        module, name = self.take(2)
        self._stack.append(_Name(f"{_shown(module)} {_shown(name)}"))

    def call(self, _: Any) -> None:
        function, arguments = self.take(2)
        if type(function) is not _Name or type(arguments) is not tuple:
            raise _RefusedError(f"wants to call a {type(function).__name__}")
        self._spend(*arguments)
        self._stack.append(_CALLS[function.name](*arguments))

    def set_state(self, _: Any) -> None:
        state, item = self._pop(), self._stack[-1]
        if type(state) is not tuple or type(item) not in (np.ndarray, _Dtype):
            raise _RefusedError(f"wants to change a {type(item).__name__}")
        self._spend(*state)
        if type(item) is np.ndarray:
            _fill(item, *state)
        else:
            item.order(*state)

    def _use_memory(self, name: str, key: int) -> None:
        if name == "MEMOIZE":
            self._memo[len(self._memo)] = self._stack[-1]
        elif "PUT" in name:
            self._memo[key] = self._stack[-1]
        else:
            self._stack.append(self._memo[key])

    def _pop(self) -> Any:
        if self._marks and self._marks[-1] >= len(self._stack):
            raise ValueError("it takes from an empty stack")
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            raise _RefusedError(f"wants to fill a {type(self._stack[-1]).__name__} like a {kind.__name__}")
        return self._stack[-1]

    def _spend(self, *items: Any) -> None:
        self._budget -= sum(len(item) for item in items if isinstance(item, str | bytes | list | tuple | set))
        if self._budget < 0:
            raise _RefusedError("makes far more of its content than there is in the file")


class _Name:
    """Something that a pickle names: a key of `_CALLS`, never the thing itself."""

    __slots__ = ("name",)

    def __init__(self, full: str) -> None:
        self.name = full.replace("__builtin__ ", "builtins ").replace("numpy._core.", "numpy.core.")
        if self.name not in _CALLS:
            raise _RefusedError(f"asks for {self}")

    def __str__(self) -> str:
        return self.name[:200].replace(" ", ".")


class _Dtype:
    """A numpy dtype of plain elements. numpy's own would take flags from the pickle that its C code then trusts."""

    __slots__ = ("dtype",)

    def __init__(self, name: str, *_: Any) -> None:
        if type(name) is not str or not re.fullmatch(_DTYPES, name):
            raise _RefusedError(f"holds a numpy array of the type {_shown(name)}, which is not numbers or text")
        self.dtype = np.dtype(name)

    def order(self, _: Any, order: str, *__: Any) -> None:
        """Sets the byte order, the one part of numpy's state of such a dtype that its name does not say."""
        if type(order) is str and order == ">":
            self.dtype = self.dtype.newbyteorder(">")

    def __str__(self) -> str:
        return f"the dtype {self.dtype}"


def _operations(contents: bytes) -> Iterator[tuple[str, Any]]:
    """Name and argument of each operation, as `pickletools.genops`, which takes lines of text for ASCII."""
    stream = io.BytesIO(contents)
    while code := stream.read(1):
        operation = _OPERATIONS[code]
        if operation.name == "STRING":
            yield "STRING", _escaped(_line(stream))
        elif lines := _LINES.get(operation.name):
            yield operation.name, " ".join(_line(stream).decode("latin1") for _ in range(lines))
        else:
            argument = operation.arg.reader(stream) if operation.arg else None
            yield operation.name, bytes(argument) if isinstance(argument, bytearray) else argument


def _line(stream: io.BytesIO) -> bytes:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise ValueError("it ends within a line")
    return line[:-1]


def _escaped(quoted: bytes) -> str:
    if not re.fullmatch(_QUOTED, quoted, re.DOTALL):
        raise ValueError("it holds a string that Python did not write")
    return codecs.escape_decode(quoted[1:-1])[0].decode("latin1")


def _shown(value: Any) -> str:
    # Text of containers may be endless: they can hold one another many times over.
    return repr(value[:100]).strip("'") if type(value) is str else f"({type(value).__name__})"


def _checked_plain(result: Any) -> Any:
    """Refuses what is left of names and dtypes anywhere in the result."""
    seen, waiting = set(), [result]
    while waiting:
        item = waiting.pop()
        if type(item) in (_Name, _Dtype):
            raise _RefusedError(f"holds {item}")
        if isinstance(item, list | tuple | dict) and id(item) not in seen:
            seen.add(id(item))
            waiting += [*item, *item.values()] if isinstance(item, dict) else item
    return result


def _checked_key(key: Any) -> Any:
    # Python hashes nested tuples by recursion without a limit.
    for part in key if type(key) is tuple else (key,):
        if not isinstance(part, str | bytes | int | float | complex | np.generic | None):
            raise _RefusedError(f"has a {type(part).__name__} in a key")
    return key


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return {_checked_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _set(items: Any = ()) -> set[Any]:
    if type(items) not in (list, tuple):
        raise _RefusedError(f"makes a set of a {type(items).__name__}")
    return set(map(_checked_key, items))


def _ordered_dict(items: Any = ()) -> dict[Any, Any]:
    if type(items) not in (list, tuple) or any(type(item) not in (list, tuple) for item in items):
        raise _RefusedError("makes an OrderedDict of something other than pairs")
    return _pairs([part for key, value in items for part in (key, value)])


def _encode(text: Any, encoding: Any) -> bytes:
    if type(text) is not str or type(encoding) is not str or encoding not in ("latin1", "latin-1"):
        raise _RefusedError(f"holds bytes in the encoding {_shown(encoding)}")
    return text.encode("latin1")


def _bytes(*nothing: Any) -> bytes:
    if nothing:
        raise _RefusedError("wants to call bytes with arguments")
    return b""


def _complex(real: Any, imaginary: Any) -> complex:
    if type(real) is not float or type(imaginary) is not float:
        raise _RefusedError("holds a complex number of something other than floats")
    return complex(real, imaginary)


def _not_callable(*_: Any) -> Any:
    raise _RefusedError("wants to call numpy.ndarray")


def _empty_array(*_: Any) -> np.ndarray:
    return np.empty(0, np.int8)


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    array = _elements(data, dtype, shape).reshape(shape, order="F" if type(order) is str and order == "F" else "C")
    array.flags.writeable = False
    return array


def _scalar(dtype: Any, data: Any) -> Any:
    return _elements(data, dtype, ())[0]


def _fill(array: np.ndarray, _: Any, shape: Any, dtype: Any, fortran: Any, data: Any) -> None:
    if not array.flags.writeable:
        raise _RefusedError("sets the elements of a numpy array twice")
    elements = _elements(data, dtype, shape)
    # An error for lengths that only a zero among them keeps within the file: the next call would not notice.
    elements.reshape(shape)
    array.__setstate__((1, shape, elements.dtype, bool(fortran), elements.tobytes()))  # type: ignore[arg-type]
    # The elements may be those of the bytes object itself, which Python shares and takes for constant.
    array.flags.writeable = False


def _elements(data: Any, dtype: Any, shape: Any) -> np.ndarray:
    """The elements of an array as numpy will see them, one-dimensional: exactly as many bytes as the shape asks for."""
    data = data.encode("latin1") if type(data) is str else data
    if type(dtype) is not _Dtype or type(data) is not bytes:
        raise _RefusedError("holds a numpy array of something other than numbers or text")
    if type(shape) is not tuple or len(shape) > _MAX_RANK or not all(type(n) is int and n >= 0 for n in shape):
        raise _RefusedError("holds a numpy array whose shape is not a few numbers")
    if math.prod(shape) * dtype.dtype.itemsize != len(data):
        raise ValueError(f"one of its numpy arrays has {len(data)} bytes, which do not fit its shape")
    elements = np.frombuffer(data, dtype.dtype)
    if dtype.dtype.kind == "U" and np.frombuffer(data, dtype.dtype.str[0] + "u4").max(initial=0) > 0x10FFFF:
        raise ValueError("its numpy array holds characters that do not exist")
    return elements


_OPERATIONS = {operation.code.encode("latin1"): operation for operation in pickletools.opcodes}

_MAX_RANK = 32

_LINES = {"GLOBAL": 2, "INST": 2, "PERSID": 1}
"""Operations whose argument is lines of text, and how many."""

_QUOTED = rb"""(['"])([^\\]|\\([\\'"abfnrtv]|x[0-9a-fA-F]{2}|[0-3]?[0-7]{1,2}))*\1"""

_DTYPES = r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16|[SU][1-9]\d{0,6})"

_PUSHED = {
    *("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
"""Operations whose argument is the value itself."""

_MEMORY = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"}

_ACTIONS: dict[str, Callable[[_Machine, Any], Any]] = {
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": lambda machine, _: machine.above_mark(),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_SET": lambda machine, _: machine.push(set()),
    "LIST": lambda machine, _: machine.push(machine.above_mark()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.above_mark())),
    "DICT": lambda machine, _: machine.push(_pairs(machine.above_mark())),
    "FROZENSET": lambda machine, _: machine.push(frozenset(_set(machine.above_mark()))),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.take(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.take(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.take(3))),
    "APPEND": lambda machine, _: machine.extend(machine.take(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.above_mark()),
    "SETITEM": lambda machine, _: machine.update(machine.take(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.above_mark()),
    "ADDITEMS": lambda machine, _: machine.add(machine.above_mark()),
    "GLOBAL": lambda machine, full: machine.push(_Name(full)),
    "STACK_GLOBAL": _Machine.name,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.set_state,
}
"""What the other operations do."""

_CALLS: dict[str, Callable[..., Any]] = {
    "builtins set": _set,
    "builtins frozenset": lambda items=(): frozenset(_set(items)),
    "builtins bytes": _bytes,
    "builtins complex": _complex,
    "collections OrderedDict": _ordered_dict,
    "_codecs encode": _encode,
    "numpy ndarray": _not_callable,
    "numpy dtype": _Dtype,
    "numpy.core.multiarray scalar": _scalar,
    "numpy.core.multiarray _reconstruct": _empty_array,
    "numpy.core.numeric _frombuffer": _array,
}
"""Everything that a pickle can name, as "module name": functions that take plain data and give plain data."""
