import numpy as np
import pytest
import tensorflow as tf

from keras_sare.training.image_pieces import count_images, is_padded, order_by_size, pad, piece, piece_spec

VALUES = np.arange(5 * 4 * 3 * 2, dtype="float32").reshape(5, 4, 3, 2)
SIZES = np.array([[4, 2], [4, 2], [3, 3], [4, 2], [4, 2]], "int32")
PADDED = {"values": tf.constant(VALUES), "sizes": tf.constant(SIZES)}


def test_images_are_padded_where_they_come_with_their_sizes():
    assert is_padded(PADDED)
    assert not is_padded(PADDED["values"])
    assert int(count_images(PADDED)) == int(count_images(PADDED["values"])) == 5


def test_order_makes_images_of_one_size_neighbours_and_keeps_their_order():
    order = order_by_size(tf.constant([[3, 2], [2, 3], [3, 2], [300, 2], [2, 3]])).numpy()
    assert sorted(order) == list(range(5))
    text = "".join("abacb"[i] for i in order)
    assert all(run in text for run in ("aa", "bb", "c"))
    assert list(order).index(0) < list(order).index(2)


@pytest.mark.parametrize(("start", "most", "count"), [(0, 1, 1), (0, 5, 2), (1, 5, 1), (2, 5, 1), (3, 1, 1), (3, 9, 2)])
def test_piece_has_one_size_and_no_padding(start, most, count):
    rows = piece(PADDED, start, most)
    height, width = SIZES[start]
    np.testing.assert_array_equal(rows, VALUES[start : start + count, :height, :width])


def test_piece_of_images_of_one_size_is_a_slice():
    np.testing.assert_array_equal(piece(PADDED["values"], 1, 3), VALUES[1:4])
    np.testing.assert_array_equal(piece(PADDED["values"], 4, 3), VALUES[4:])


@pytest.mark.parametrize("images", [PADDED, PADDED["values"]], ids=["padded", "one size"])
def test_every_piece_is_of_the_spec(images):
    assert piece_spec(images).is_compatible_with(piece(images, 1, 2))


def test_padding_is_taken_off_again_by_piece():
    padded = pad(tf.constant(VALUES), 6, 5)
    assert padded["values"].shape == (5, 6, 5, 2)
    assert float(tf.reduce_sum(padded["values"])) == VALUES.sum()
    np.testing.assert_array_equal(padded["sizes"], [[4, 3]] * 5)
    np.testing.assert_array_equal(piece(padded, 0, 5), VALUES)
