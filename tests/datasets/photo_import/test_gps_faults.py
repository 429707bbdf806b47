import numpy as np
import pytest

from keras_sare.datasets.photo_import.gps_faults import faulty_positions
from keras_sare.datasets.photo_import.photo_list import PhotoList
from keras_sare.datasets.places.transverse_mercator import from_utm

WALK = np.stack([695000.0 + 3 * np.arange(40), np.full(40, 5711000.0)], axis=1)
SPEED = 40.0


def reasons(positions, seconds=None, traversals=None):
    latitudes, longitudes = from_utm(positions, 30)
    names = np.array([f"{i}.jpg" for i in range(len(positions))], np.dtypes.StringDType())
    seconds = 2.0 * np.arange(len(names)) if seconds is None else seconds
    photos = PhotoList.of(names, latitudes=latitudes, longitudes=longitudes, seconds=seconds)
    walks = np.array(["walk"] * len(names), np.dtypes.StringDType()) if traversals is None else traversals
    return faulty_positions(photos, walks, SPEED)


def test_a_walk_has_no_faults():
    assert set(reasons(WALK).tolist()) == {""}


@pytest.mark.parametrize("wrong", [[0], [39], [7], [7, 8, 9], [0, 1, 2, 20, 37, 38, 39]])
def test_jumps_are_named_whether_one_photo_or_several(wrong):
    positions = WALK.copy()
    positions[wrong, 1] += 2500
    found = reasons(positions)
    assert np.flatnonzero(found != "").tolist() == wrong
    assert found[wrong[0]] == "a jump, faster than 144 km/h from the photos before and after it"


def test_order_is_that_of_time_not_of_names():
    order = np.random.default_rng(0).permutation(40)
    assert set(reasons(WALK[order], 2.0 * order).tolist()) == {""}


@pytest.mark.parametrize(("step", "faults"), [(40, 0), (60, 39)])
def test_photos_of_one_second_may_be_as_far_apart_as_receivers_are_off(step, faults):
    positions = (WALK - WALK[0]) * [step / 3, 1] + WALK[0]
    assert (reasons(positions, np.zeros(40)) != "").sum() == faults


def test_another_walk_may_be_elsewhere():
    positions = np.concatenate([WALK, WALK + [3000, 0]])
    walks = np.array(["a", "b"] * 1, np.dtypes.StringDType()).repeat(40)
    seconds = np.tile(2.0 * np.arange(40), 2)
    assert set(reasons(positions, seconds, walks).tolist()) == {""}
    assert (reasons(positions, seconds) != "").sum() > 20


def test_what_no_position_and_no_neighbour_has_is_named():
    positions = WALK.copy()
    positions[3, 1] += 9000
    latitudes, longitudes = from_utm(positions, 30)
    latitudes[[5, 6]] = [np.nan, 0.0002]
    longitudes[6] = -0.0002
    names = np.array([f"{i}.jpg" for i in range(40)], np.dtypes.StringDType())
    found = faulty_positions(PhotoList.of(names, latitudes=latitudes, longitudes=longitudes), names, SPEED)
    assert np.flatnonzero(found != "").tolist() == [3, 5, 6]
    assert found[[3, 5]].tolist() == ["farther than 5 km from all other photos", "no position"]
    assert found[6].startswith("at 0 degrees north, 0 degrees east")
