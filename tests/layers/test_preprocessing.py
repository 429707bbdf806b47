import numpy as np
import pytest

from keras_sare.layers import ImagePreprocessing


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_pixels_are_not_rounded_before_the_mean_is_subtracted(policy):
    pixels = np.array([[[[123.9, 116.9, 104.2]]]], "float32")
    mean = (123.68, 116.779, 103.939)
    prepared = ImagePreprocessing(mean, (1, 1, 1), dtype=policy)(pixels)
    np.testing.assert_allclose(np.array(prepared, "float32"), pixels - np.array(mean), rtol=2**-8)
