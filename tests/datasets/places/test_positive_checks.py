import dataclasses

import numpy as np
import pytest

from keras_sare.datasets import ImageSet, PlaceDataset
from keras_sare.datasets.places.positive_checks import check_positives

# A street of Pittsburgh in UTM: easting and northing are far apart.
STREET = np.array([585_000.0, 4_477_000.0]) + 20.0 * np.arange(6)[:, None]


def dataset(queries, database=STREET, **columns):
    sides = [ImageSet([f"{role}{i}.jpg" for i in range(len(p))], p) for role, p in (("d", database), ("q", queries))]
    return dataclasses.replace(PlaceDataset("street_test", *sides), **columns)


def test_queries_without_database_images_are_counted():
    near = STREET[:3] + [3.0, 4.0]
    assert check_positives(dataset(near), 5.0) == 0
    assert check_positives(dataset(np.concatenate([near, STREET[:2] + 1e5])), 5.0) == 2


def test_exchanged_columns_are_recognised():
    with pytest.raises(ValueError, match="'street_test' must have.* within 25 m, and none of its 6 has. Easting"):
        check_positives(dataset(STREET[:, ::-1]), 25.0)
    with pytest.raises(ValueError, match="Easting and northing of one side are exchanged: exchange them"):
        check_positives(dataset(STREET, database=STREET[:, ::-1]), 25.0)


def test_distance_of_the_nearest_is_told_where_the_unit_or_the_zone_is_wrong():
    with pytest.raises(ValueError, match="The nearest two are 30 m apart: check the positions"):
        check_positives(dataset(STREET[-1:] + [18.0, 24.0]), 25.0)
    with pytest.raises(ValueError, match=r"The nearest two are 4\.\d+e\+06 m apart"):
        check_positives(dataset(STREET / 1000), 25.0)


def test_names_of_places_take_the_place_of_positions():
    sides = [ImageSet([f"{role}.jpg"], places=[place]) for role, place in (("d", "Main St"), ("q", "main st"))]
    with pytest.raises(ValueError, match="at the same place, and none of its 1 has. Check the column with the places"):
        check_positives(PlaceDataset("named", *sides), 25.0)
