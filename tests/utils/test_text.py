import logging

import pytest

from keras_sare.utils.progress import show_information
from keras_sare.utils.text import PrintableMessages, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Plaza Mayor, 3.jpg", "Plaza Mayor, 3.jpg"),
        ("Überlingen 東京 Мост", "Überlingen 東京 Мост"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("two\nlines\r\tand a tab", r"two\nlines\r\tand a tab"),
        ("\x9b31m", r"\x9b31m"),  # The one-byte form of ESC [.
        ("gpj.\u202eexe", r"gpj.\u202eexe"),  # Right to left from here on.
        ("not UTF-8: \udcff", r"not UTF-8: \udcff"),
        ("back\\slash", "back\\slash"),
        (7, "7"),
    ],
)
def test_control_characters_are_escaped_and_letters_are_not(text, shown):
    assert printable(text) == shown
    assert printable(text).isprintable()


@pytest.fixture
def root_handler():
    handlers = logging.getLogger().handlers
    handler = logging.Handler()
    handlers.append(handler)
    yield handler
    handlers.remove(handler)
    for one in handlers:
        one.filters[:] = [each for each in one.filters if not isinstance(each, PrintableMessages)]


def test_messages_of_programs_command_no_terminal_and_keep_their_lines(root_handler, monkeypatch):
    shown = []
    monkeypatch.setattr(root_handler, "emit", lambda record: shown.append(record.getMessage()))
    for _ in range(2):
        show_information()
    assert len(root_handler.filters) == 1
    logger = logging.getLogger("keras_sare.datasets")
    logger.warning("Left out: %s\nand %d more", "\x1b[2J.jpg", 3)
    logger.warning("Left out: %s", "東京.jpg")
    assert shown == ["Left out: \\x1b[2J.jpg\nand 3 more", "Left out: 東京.jpg"]
