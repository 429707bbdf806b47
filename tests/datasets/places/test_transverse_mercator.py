import numpy as np
import pytest

from keras_sare.datasets import earth_centred
from keras_sare.datasets.places.transverse_mercator import from_utm, in_next_zone, to_utm, utm_zone

KNOWN = [
    (43.6425667, -79.3871389, 17, False, 630084.3095, 4833438.5525),
    (-33.8567844, 151.2152967, 56, True, 334900.2343, 6252290.4776),
    (59.9139, 10.7522, 32, False, 597979.9029, 6643118.9915),
    (59.9139, 10.7522, 33, False, 262560.4822, 6649443.5841),
    (0.001, 2.999, 31, False, 499888.7250, 110.5300),
    (78.22, 15.65, 33, False, 514813.5273, 8683004.1533),
    (51.5007292, -0.1246254, 31, False, 283138.7774, 5710140.1235),
]
"""Latitude, longitude, zone, south, and what PROJ 9 makes of them."""


@pytest.mark.parametrize(("latitude", "longitude", "zone", "south", "easting", "northing"), KNOWN)
def test_degrees_become_what_proj_makes_of_them_and_go_back(latitude, longitude, zone, south, easting, northing):
    positions = to_utm(np.array([latitude]), np.array([longitude]), zone, south)
    np.testing.assert_allclose(positions, [[easting, northing]], rtol=0, atol=2e-4)
    back = np.concatenate(from_utm(positions, zone, south))
    np.testing.assert_allclose(back, [latitude, longitude], rtol=0, atol=1e-8)


def test_zones_begin_at_the_date_line():
    assert [utm_zone(longitude) for longitude in (-180, -174, -0.1, 0, 179.9, 180)] == [1, 2, 30, 31, 60, 1]


def test_a_walk_across_the_date_line_and_the_equator_stays_whole():
    longitude = np.array([179.9999, -179.9999])
    latitude = np.array([1e-4, -1e-4])
    planar = to_utm(latitude, longitude, 60)
    straight = np.linalg.norm(np.diff(earth_centred(latitude, longitude), axis=0))
    assert np.linalg.norm(np.diff(planar, axis=0)) == pytest.approx(straight, rel=2e-3)
    np.testing.assert_allclose(from_utm(planar, 60)[1], longitude, atol=1e-9)


@pytest.mark.parametrize("south", [False, True])
def test_there_and_back_is_the_same_position(south):
    positions = np.array([[695725.08, 5711437.26], [300000.0, 4200000.0], [584825.12, 9477125.5]])
    assert np.abs(in_next_zone(in_next_zone(positions, 1, south), -1, south) - positions).max() < 0.01


def test_border_of_two_zones_is_as_far_from_the_middle_of_either():
    """Of the equator: 3 degrees east of one middle are 3 degrees west of the next, 166021 m at 0.9996."""
    east = np.array([[833978.56, 0.0]])
    np.testing.assert_allclose(in_next_zone(east, 1), [[166021.44, 0.0]], atol=0.01)
