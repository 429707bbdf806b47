"""Tables of a report page: what stands in a chart, for those who read rather than look."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_sare.utils.text import printable

MOST_ROWS = 200

_SHORT = 30


def escaped(text: object) -> str:
    """Text from files and strangers as text of a page."""
    return html.escape(printable(text))


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table whose first column names the rows; of many rows the first `MOST_ROWS`, saying so."""
    if len(rows) > MOST_ROWS:
        caption = f"{caption} (the first {MOST_ROWS} of {len(rows)})"
    head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in columns)
    body = "".join(_row(row) for row in rows[:MOST_ROWS])
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(caption)}"><table>'
        f"<caption>{escaped(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def columns_table(caption: str, columns: Mapping[str, Mapping[str, Any]]) -> str:
    """A table of names and their values in each column; what differs between columns comes first and says so."""
    names = dict.fromkeys(name for values in columns.values() for name in values)
    rows = [(name, [_plain(values.get(name)) for values in columns.values()]) for name in names]
    differing = [(f"{name} (differs)", *cells) for name, cells in rows if len({*cells}) > 1]
    return table(
        caption, ("what", *columns), differing + [(name, *cells) for name, cells in rows if len({*cells}) == 1]
    )


def rows_table(caption: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """A table of rows that are mappings of one form."""
    listed = list(rows)
    columns = list(dict.fromkeys(name for row in listed for name in row))
    return table(caption, columns, [[row.get(name, "") for name in columns] for row in listed])


def _row(cells: Sequence[object]) -> str:
    first, *others = [_cell(cell) for cell in cells]
    return f'<tr><th scope="row">{first}</th>{"".join(map(_data, others))}</tr>'


def _data(cell: str) -> str:
    """Numbers with their intervals stay in one line."""
    return f'<td class="short">{cell}</td>' if len(cell) <= _SHORT else f"<td>{cell}</td>"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return escaped(f"{value:.4g}" if isinstance(value, float) and abs(value) < 1000 else value)


def _plain(value: object) -> str:
    """Text of a setting."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
