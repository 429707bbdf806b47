"""Text from files and strangers, made fit to be shown."""

import logging


def printable(text: object) -> str:
    """Escapes what a terminal would obey or not show: control characters, line breaks, marks of writing direction.

    Args:
        text: for example a path or the name of a place, as a data set has it.

    Returns:
        `text` on one line, such characters as Python writes them: an escape character as `\\x1b`.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


class PrintableMessages(logging.Filter):
    """Escapes in log messages what `printable` escapes, but for their line breaks."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Changes the message where there is something to escape, and keeps every record."""
        lines = record.getMessage().split("\n")
        if not all(line.isprintable() for line in lines):
            record.msg = "\n".join(map(printable, lines))
            record.args = None
        return True
