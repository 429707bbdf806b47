import keras
import numpy as np
import pytest

from keras_sare.layers import MAC


def test_equals_the_largest_activation_of_each_channel_normalised():
    maps = np.random.default_rng(0).random((2, 4, 5, 3)).astype("float32")
    expected = maps.reshape(2, 20, 3).max(axis=1)
    np.testing.assert_allclose(MAC()(maps), expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-6)


def test_round_trips_through_a_keras_file(tmp_path):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, MAC()(inputs))
    model.save(tmp_path / "model.keras")
    maps = np.random.default_rng(0).random((2, 4, 5, 3)).astype("float32")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(maps), model(maps))


def test_half_precision_maps_give_float32_descriptors_of_norm_one():
    maps = (1e-4 * np.random.default_rng(0).random((2, 4, 5, 3))).astype("float16")
    output = MAC(dtype="mixed_float16")(maps)
    assert keras.backend.standardize_dtype(output.dtype) == "float32"
    np.testing.assert_allclose(np.linalg.norm(output, axis=1), 1, rtol=1e-4)


def test_input_that_is_no_feature_map_is_refused():
    with pytest.raises(ValueError, match=r"`MAC` expects feature maps .* Received: input_shape=\(2, 3\)"):
        MAC()(np.ones((2, 3), "float32"))
