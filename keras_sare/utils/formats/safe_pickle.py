"""Pickles as data: a machine that carries out what builds containers, and calls what it is given and nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from keras_sare.utils.formats.pickle_operations import Stream, operations
from keras_sare.utils.formats.pickled_containers import RefusedError, checked_key, made_set, pairs, shown

MOST_STAND_INS = 1000
"""Of the types of one pickle: a type takes hundreds of times the memory of its name."""


@dataclass(frozen=True)
class Admitted:
    """What pickles of one format may ask for, beyond containers, text and numbers.

    Attributes:
        calls: functions by the name in the pickle, "module name". They get what the pickle holds, so that they have to
            check it, and must not keep it.
        constants: values by such a name.
        states: by the type of an object, what becomes of the state that a pickle gives it: (object, state) -> None.
        persistent: gives what the pickle refers to outside of itself; None where it may not.
        stand_ins: whether a name that is not admitted becomes a `StandIn`, which cannot be called; otherwise it is
            refused.
    """

    calls: Mapping[str, Callable[..., Any]]
    constants: Mapping[str, Any] = field(default_factory=dict)
    states: Mapping[type, Callable[[Any, Any], None]] = field(default_factory=dict)
    persistent: Callable[[Any], Any] | None = None
    stand_ins: bool = False


class StandIn(dict):
    """Stands for an object of an unknown class. The name of its type is the name in the pickle; its state is dropped.

    What the pickle puts in under keys is kept, what it appends is dropped.
    """

    __slots__ = ()


class Named:
    """A function that a pickle names: the key of `Admitted.calls`, never the function itself."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name.replace(" ", ".")


def read_pickle(stream: Stream, admitted: Admitted) -> Any:
    """Reads one pickle of any protocol, 0 to 5, by Python 2 or 3. The stream is left behind its end.

    A pickle is a program, and Python's own `pickle.load` runs whatever function it names. Here no module is imported
    and no attribute read. Memory is bounded: by the length of the stream for what stands in it, and for what calls copy
    by four times what was read of it; depth is not limited, and nothing here recurses.

    Args:
        stream: the pickle.
        admitted: what it may ask for.

    Returns:
        What the pickle holds. Strings of Python 2 are text by Latin-1, a bytearray is bytes.

    Raises:
        RefusedError: the pickle asks for anything else.
        ValueError, LookupError, TypeError, AttributeError, OverflowError: it is damaged; which depends on where.
    """
    return _Machine(stream, admitted).run()


class _Machine:
    """Carries out the operations of one pickle."""

    def __init__(self, stream: Stream, admitted: Admitted) -> None:
        self._stream = stream
        self._admitted = admitted
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._stand_ins: dict[str, type[StandIn]] = {}
        self._start = stream.tell()
        self._spent = 0

    def run(self) -> Any:
        for name, argument in operations(self._stream):
            if name in _PUSHED:
                self._stack.append(argument)
            elif name in _MEMORY:
                self._use_memory(name, argument)
            elif name in _ACTIONS:
                _ACTIONS[name](self, argument)
            elif name == "STOP":
                return self._pop()
            elif name not in ("PROTO", "FRAME"):
                raise RefusedError(f"wants {name} {'' if argument is None else argument!s:.200}".rstrip())
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
        if not isinstance(self._stack[-1], StandIn):
            self._top(list).extend(items)

    def update(self, items: list[Any]) -> None:
        top = self._stack[-1] if isinstance(self._stack[-1], StandIn) else self._top(dict)
        top.update(pairs(items))

    def add(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], StandIn):
            self._top(set).update(map(checked_key, items))

    def name(self, _: Any) -> None:
        module, name = self.take(2)
        self.look_up(f"{shown(module)} {shown(name)}")

    def look_up(self, full: str) -> None:
        """Pushes what a name stands for."""
        full = full.replace("__builtin__ ", "builtins ").replace("numpy._core.", "numpy.core.")
        if full in self._admitted.constants:
            self._stack.append(self._admitted.constants[full])
        elif full in self._admitted.calls:
            self._stack.append(Named(full))
        elif self._admitted.stand_ins:
            self._stack.append(self._stand_in(_dotted(full)))
        else:
            raise RefusedError(f"asks for {_dotted(full)}")

    def call(self, _: Any) -> None:
        function, arguments = self.take(2)
        if isinstance(function, type):
            raise RefusedError(f"wants to call {function.__name__}")
        if type(function) is not Named or type(arguments) is not tuple:
            raise RefusedError(f"wants to call a {type(function).__name__}")
        self._spend(arguments)
        self._stack.append(self._admitted.calls[function.name](*arguments))

    def new(self, operation: str, count: int) -> None:
        """Makes an object of a class from `count` arguments, where a `StandIn` will do."""
        kind, *_ = self.take(1 + count)
        if not isinstance(kind, type) or not issubclass(kind, StandIn):
            raise RefusedError(f"wants {operation} of {kind if isinstance(kind, Named) else type(kind).__name__}")
        self._stack.append(kind())

    def set_state(self, _: Any) -> None:
        state = self._pop()
        item = self._stack[-1]
        change = self._admitted.states.get(StandIn if isinstance(item, StandIn) else type(item))
        if change is None:
            raise RefusedError(f"wants to change a {type(item).__name__}")
        self._spend(state)
        change(item, state)

    def refer(self, _: Any) -> None:
        if self._admitted.persistent is None:
            raise RefusedError("wants BINPERSID")
        self._stack.append(self._admitted.persistent(self._pop()))

    def _stand_in(self, name: str) -> type[StandIn]:
        if name not in self._stand_ins:
            if len(self._stand_ins) == MOST_STAND_INS:
                raise RefusedError(f"names more than {MOST_STAND_INS} unknown classes and functions")
            self._stand_ins[name] = type(name, (StandIn,), {"__slots__": ()})
        return self._stand_ins[name]

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
            raise RefusedError(f"wants to fill a {type(self._stack[-1]).__name__} like a {kind.__name__}")
        return self._stack[-1]

    def _spend(self, items: Any) -> None:
        """Counts elements that a call may copy: else a pickle could have one long list copied over and over."""
        if type(items) is not tuple:
            return
        self._spent += sum(len(one) for one in items if isinstance(one, str | bytes | list | tuple | set | dict))
        if self._spent > 4 * (self._stream.tell() - self._start) + 2**20:
            raise RefusedError("makes far more of its content than there is in the file")


def _dotted(full: str) -> str:
    return full[:200].replace(" ", ".")


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
    "DICT": lambda machine, _: machine.push(pairs(machine.above_mark())),
    "FROZENSET": lambda machine, _: machine.push(frozenset(made_set(machine.above_mark()))),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.take(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.take(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.take(3))),
    "APPEND": lambda machine, _: machine.extend(machine.take(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.above_mark()),
    "SETITEM": lambda machine, _: machine.update(machine.take(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.above_mark()),
    "ADDITEMS": lambda machine, _: machine.add(machine.above_mark()),
    "GLOBAL": lambda machine, full: machine.look_up(full),
    "STACK_GLOBAL": _Machine.name,
    "REDUCE": _Machine.call,
    "NEWOBJ": lambda machine, _: machine.new("NEWOBJ", 1),
    "NEWOBJ_EX": lambda machine, _: machine.new("NEWOBJ_EX", 2),
    "BUILD": _Machine.set_state,
    "BINPERSID": _Machine.refer,
}
"""What the other operations do."""
