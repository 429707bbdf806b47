import keras
import numpy as np
import pytest

from keras_sare.extraction import Extractor


def doubling():
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Rescaling(2.0)(inputs))


def test_rows_follow_the_indices_whatever_the_order_of_the_batches():
    x = np.arange(15, dtype="float32").reshape(5, 3)
    batches = [(np.array([4, 1]), x[[4, 1]]), (np.array([0, 2, 3]), x[[0, 2, 3]])]
    np.testing.assert_array_equal(Extractor(doubling())(batches, 5), 2 * x)


def test_given_array_is_filled(tmp_path):
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", "float16", (2, 3))
    x = np.ones((2, 3), "float32")
    assert Extractor(doubling())([(np.arange(2), x)], 2, out=out) is out
    np.testing.assert_array_equal(out, 2 * x)


def test_missing_index_is_an_error():
    with pytest.raises(ValueError, match="`batches` must hold all of 3 indices. Received: 2 of them"):
        Extractor(doubling())([(np.arange(2), np.ones((2, 3), "float32"))], 3)
