import pytest

from keras_sare.utils.text import printable


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
