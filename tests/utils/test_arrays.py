import numpy as np

from keras_sare.utils.arrays import array_within


def test_small_array_is_kept_in_memory(tmp_path):
    array = array_within(100, (5, 5), tmp_path)
    assert not isinstance(array, np.memmap)
    assert array.shape == (5, 5)


def test_large_array_goes_to_a_file_that_leaves_no_trace(tmp_path):
    array = array_within(99, (5, 5), tmp_path / "spill")
    assert isinstance(array, np.memmap)
    array[:] = 3
    assert array.sum() == 75
    assert list((tmp_path / "spill").iterdir()) == []
