import numpy as np
import pytest

from keras_sare.utils.formats.plain_lists import integer_list, text_list


def nested(levels=40):
    """A list that holds one list twice, and so on: its text would have 2 ** levels parts."""
    inner = ["abc"]
    for _ in range(levels):
        inner = [inner, inner]
    return inner


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_flat_lists_of_any_kind_are_read(kind):
    assert text_list(kind(["ab", "c"]), "names", "f.pkl") == ["ab", "c"]
    numbers = integer_list(kind([3, 0, 7]), "numbers", "f.pkl")
    assert (numbers.dtype, numbers.tolist()) == (np.int64, [3, 0, 7])


def test_numbers_of_any_integer_type_and_none_are_read():
    assert integer_list([np.uint8(1), -(2**63), np.int64(5)], "numbers", "f.pkl").tolist() == [1, -(2**63), 5]
    for empty in ([], np.zeros(0)):
        assert integer_list(empty, "numbers", "f.pkl").dtype == np.int64


@pytest.mark.parametrize(
    ("values", "received"),
    [
        (3, "names of type int, 2 bits"),
        (None, "names of type NoneType"),
        ("abc", "names of type str, 3 characters"),
        ({"a": 1}, "names of type dict"),
        (np.array([["a"]]), r"names of type array, shape \(1, 1\)"),
        (["a", b"b"], r"names\[1\] of type bytes"),
        (["a" * 1025], r"names\[0\] of type str, 1025 characters"),
        (nested(), r"names\[0\] of type list"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_list_of_names_is_refused_by_its_type(values, received):
    with pytest.raises(ValueError, match=f"hold a list of image names as names. Received: {received}, path='f.pkl'"):
        text_list(values, "names", "f.pkl")


@pytest.mark.parametrize(
    ("values", "received"),
    [
        (3, "ids of type int, 2 bits"),
        (np.array(3), r"ids of type array, shape \(\)"),
        ([0, "1"], r"ids\[1\] of type str, 1 characters"),
        ([True], r"ids\[0\] of type bool"),
        ([0.5], r"ids\[0\] of type float"),
        (np.array([0.5]), r"ids\[0\] of type float"),
        ([2**63], r"ids\[0\] of type int, 64 bits"),
        ([10**5000], r"ids\[0\] of type int, 16610 bits"),
        ([np.zeros((2, 3))], r"ids\[0\] of type array, shape \(2, 3\)"),
        (nested(), r"ids\[0\] of type list"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_list_of_numbers_is_refused_by_its_type(values, received):
    with pytest.raises(ValueError, match=f"hold a list of whole numbers as ids. Received: {received}, path='f.pkl'"):
        integer_list(values, "ids", "f.pkl")
