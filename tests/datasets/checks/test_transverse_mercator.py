import numpy as np
import pytest

from keras_sare.datasets.checks.transverse_mercator import in_next_zone


@pytest.mark.parametrize("south", [False, True])
def test_there_and_back_is_the_same_position(south):
    positions = np.array([[695725.08, 5711437.26], [300000.0, 4200000.0], [584825.12, 9477125.5]])
    assert np.abs(in_next_zone(in_next_zone(positions, 1, south), -1, south) - positions).max() < 0.01


def test_border_of_two_zones_is_as_far_from_the_middle_of_either():
    """Of the equator: 3 degrees east of one middle are 3 degrees west of the next, 166021 m at 0.9996."""
    east = np.array([[833978.56, 0.0]])
    np.testing.assert_allclose(in_next_zone(east, 1), [[166021.44, 0.0]], atol=0.01)
