"""Text from files and strangers, made fit to be shown."""


def printable(text: object) -> str:
    """Escapes what a terminal would obey or not show: control characters, line breaks, marks of writing direction.

    Args:
        text: for example a path or the name of a place, as a data set has it.

    Returns:
        `text` on one line, such characters as Python writes them: an escape character as `\\x1b`.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
