"""The operations of a pickle, one after the other."""

import codecs
import pickletools
import re
from collections.abc import Iterator
from typing import IO, Any, Protocol, cast


class Stream(Protocol):
    """A pickle to read: a `BytesIO`, or an `mmap` of a file, neither of which makes room for more than there is."""

    def read(self, n: int = ..., /) -> bytes: ...
    def readline(self) -> bytes: ...
    def tell(self) -> int: ...


def operations(stream: Stream) -> Iterator[tuple[str, Any]]:
    """Name and argument of each operation, as `pickletools.genops`, which takes lines of text for ASCII."""
    while code := stream.read(1):
        operation = _OPERATIONS[code]
        if operation.name == "STRING":
            yield "STRING", _escaped(_line(stream))
        elif lines := _LINES.get(operation.name):
            yield operation.name, " ".join(_line(stream).decode("latin1") for _ in range(lines))
        else:
            argument = operation.arg.reader(cast(IO[bytes], stream)) if operation.arg else None
            yield operation.name, bytes(argument) if isinstance(argument, bytearray) else argument


def _line(stream: Stream) -> bytes:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise ValueError("it ends within a line")
    return line[:-1]


def _escaped(quoted: bytes) -> str:
    if not re.fullmatch(_QUOTED, quoted, re.DOTALL):
        raise ValueError("it holds a string that Python did not write")
    return codecs.escape_decode(quoted[1:-1])[0].decode("latin1")


_OPERATIONS = {operation.code.encode("latin1"): operation for operation in pickletools.opcodes}

_LINES = {"GLOBAL": 2, "INST": 2, "PERSID": 1}
"""Operations whose argument is lines of text, and how many."""

_QUOTED = rb"""(['"])([^\\]|\\([\\'"abfnrtv]|x[0-9a-fA-F]{2}|[0-3]?[0-7]{1,2}))*\1"""
