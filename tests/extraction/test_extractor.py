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


class CountedCalls(keras.layers.Layer):
    """Counts how often it is called from Python: in a graph, when that is traced."""

    calls = 0

    def call(self, inputs):
        self.calls += 1
        return inputs


def means(size):
    """The mean of an image's pixels, computed from all of them at once where the size is given."""
    counted = CountedCalls()
    images = keras.Input((*size, 3))
    flat = keras.layers.Flatten() if all(size) else keras.layers.GlobalAveragePooling2D()
    dense = keras.layers.Dense(1, "relu", False, "ones")
    model = keras.Model(images, dense(flat(counted(images))))
    counted.calls = 0
    return model, counted


@pytest.mark.parametrize(
    ("size", "shapes"),
    [
        # So large that nobody asks what the least side is: that calls the model too.
        ((None, None), [(2, 64, 65), (1, 64, 65), (2, 70, 66), (1, 64, 70), (3, 64, 65)]),
        ((2, 3), [(2, 2, 3), (1, 2, 3), (4, 2, 3)]),
    ],
    ids=["any size", "one size"],
)
def test_a_model_is_traced_once_for_batches_of_every_shape_that_it_takes(size, shapes):
    model, counted = means(size)
    extractor = Extractor(model)
    for count, height, width in shapes:
        images = np.random.default_rng(0).uniform(1, 2, (count, height, width, 3)).astype("float32")
        expected = images.sum((1, 2, 3)) if all(size) else images.mean((1, 2)).sum(1)
        np.testing.assert_allclose(extractor([(np.arange(count), images)], count)[:, 0], expected, rtol=1e-5)
    assert counted.calls == 1
    extractor([(np.arange(count), images.astype("uint8"))], count)  # as files are read
    assert counted.calls == 2
