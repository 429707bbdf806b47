"""Rows of a list that cannot be understood: all are counted, the first are named."""

from pathlib import Path

_MOST_NAMED = 10


class WrongRows:
    """Collects what is wrong with the rows of a file that is read chunk by chunk; only the first faults are kept."""

    def __init__(self) -> None:
        self._count = 0
        self._named: dict[int, list[tuple[str, str]]] = {}
        self._of_chunk: list[tuple[int, str, str]] = []

    def add(self, number: int, expected: str, received: str) -> None:
        """Notes a fault.

        Args:
            number: of the row.
            expected: what the row must be, or do: "must name an image".
            received: what it has instead.
        """
        self._of_chunk.append((number, expected, received))

    def end_chunk(self) -> None:
        """Forgets the faults that are not going to be named; all rows of this chunk come before those of the next."""
        self._count += len({number for number, *_ in self._of_chunk})
        for number, expected, received in sorted(self._of_chunk, key=lambda fault: fault[0]):
            if number in self._named or len(self._named) < _MOST_NAMED:
                self._named.setdefault(number, []).append((expected, received))
        self._of_chunk = []

    def check(self, path: Path) -> None:
        """Raises one error for all faults.

        Args:
            path: the file, for the message.

        Raises:
            ValueError: there are some; rows that are wrong alike are named together.
        """
        faults = [(number, *fault) for number, of_row in self._named.items() for fault in of_row]
        if len(faults) == 1:
            [(number, expected, received)] = faults
            raise ValueError(f"Row {number} of `path` {expected}. Received: path={path}, {received}")
        if faults:
            rows = f"{self._count} rows" if self._count > 1 else "One row"
            more = f", and so on (the first {_MOST_NAMED} are named)" if self._count > _MOST_NAMED else ""
            raise ValueError(f"{rows} of `path` must be corrected: {_alike(faults)}{more}. Received: path={path}")


def _alike(faults: list[tuple[int, str, str]]) -> str:
    """Faults in words, those together that are alike."""
    by_expected: dict[str, list[str]] = {}
    for number, expected, received in faults:
        by_expected.setdefault(expected, []).append(f"{number} ({received})")
    return "; ".join(f"row {', '.join(rows)} {expected}" for expected, rows in by_expected.items())
