import numpy as np
import pytest

from keras_sare.datasets import Neighbours, earth_centred, geodetic, neighbours_within
from keras_sare.datasets.places import spatial

WGS84_A = 6378137.0
WGS84_B = 6356752.314245179


def naive_neighbours(queries, database, radius, exclude_within):
    distances = np.linalg.norm(queries[:, None] - database[None], axis=-1)
    return [np.flatnonzero((row <= radius) & ((row > exclude_within) | (exclude_within == 0))) for row in distances]


def test_a_row_is_a_view_of_the_flat_array():
    neighbours = Neighbours(np.array([0, 2, 2, 3]), np.array([4, 7, 5]))
    assert len(neighbours) == 3
    np.testing.assert_array_equal(neighbours.counts, [2, 0, 1])
    np.testing.assert_array_equal(neighbours[0], [4, 7])
    np.testing.assert_array_equal(neighbours[1], [])
    np.testing.assert_array_equal(neighbours[-1], [5])
    assert np.shares_memory(neighbours[0], neighbours.indices)


def test_iterating_over_the_rows_ends():
    rows = [row.tolist() for row in Neighbours(np.array([0, 2, 2, 3]), np.array([4, 7, 5]))]
    assert rows == [[4, 7], [], [5]]


def test_the_arrays_are_int64():
    neighbours = neighbours_within(np.zeros((2, 2)), np.zeros((3, 2)), radius=1)
    assert neighbours.offsets.dtype == neighbours.indices.dtype == np.int64


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("exclude_within", [0.0, 3.0])
@pytest.mark.parametrize("block", [1, 7, 4096])
def test_neighbours_equal_a_naive_loop_whatever_the_block(monkeypatch, dimensions, exclude_within, block):
    monkeypatch.setattr(spatial, "_BLOCK", block)
    rng = np.random.default_rng(dimensions)
    queries = rng.uniform(0, 40, (50, dimensions))
    database = rng.uniform(0, 40, (80, dimensions))
    database[:5] = queries[:5]
    found = neighbours_within(queries, database, 10.0, exclude_within)
    expected = naive_neighbours(queries, database, 10.0, exclude_within)
    assert len(found) == 50
    assert found.counts.sum() > 50
    for row, expected_row in zip(found, expected, strict=True):
        np.testing.assert_array_equal(row, expected_row)


def test_the_upper_bound_is_inclusive_and_the_lower_bound_exclusive():
    database = np.array([[0.0, 0], [1, 0], [1.001, 0], [6, 8], [10.001, 0]])
    found = neighbours_within(np.zeros((1, 2)), database, radius=10, exclude_within=1)
    np.testing.assert_array_equal(found[0], [2, 3])


def test_without_a_lower_bound_an_image_at_the_same_position_counts():
    found = neighbours_within(np.zeros((1, 2)), np.array([[0.0, 0], [30, 0]]), radius=25)
    np.testing.assert_array_equal(found[0], [0])


@pytest.mark.parametrize(("queries", "database"), [(0, 3), (3, 0), (0, 0)])
def test_an_empty_side_has_no_neighbours(queries, database):
    found = neighbours_within(np.zeros((queries, 2)), np.zeros((database, 2)), radius=1)
    assert found.counts.tolist() == [0] * queries


def test_earth_centred_at_the_equator_and_the_poles_is_the_ellipsoid():
    positions = earth_centred(np.array([0, 0, 90, -90]), np.array([0, 90, 0, 0]))
    expected = [[WGS84_A, 0, 0], [0, WGS84_A, 0], [0, 0, WGS84_B], [0, 0, -WGS84_B]]
    np.testing.assert_allclose(positions, expected, atol=1e-6)


def test_geodetic_leads_back_also_from_the_mean_of_neighbours():
    rng = np.random.default_rng(1)
    degrees = np.stack([rng.uniform(-90, 90, 100), rng.uniform(-180, 180, 100)], axis=1)
    np.testing.assert_allclose(geodetic(earth_centred(*degrees.T)), degrees, atol=1e-9)
    near = degrees[:, None] + rng.uniform(-1e-4, 1e-4, (100, 5, 2))
    near[..., 0] = np.clip(near[..., 0], -89, 89)
    mean = earth_centred(*near.reshape(-1, 2).T).reshape(100, 5, 3).mean(axis=1)
    np.testing.assert_allclose(earth_centred(*geodetic(mean).T), mean, atol=1e-3)
    assert np.isnan(geodetic(np.full((1, 3), np.nan))).all()


def test_earth_centred_points_lie_on_the_ellipsoid():
    rng = np.random.default_rng(0)
    x, y, z = earth_centred(rng.uniform(-90, 90, 100), rng.uniform(-180, 180, 100)).T
    np.testing.assert_allclose((x**2 + y**2) / WGS84_A**2 + z**2 / WGS84_B**2, 1, rtol=1e-12)


def test_earth_centred_distances_agree_with_the_local_radii_of_curvature():
    phi = np.radians(55.75)
    step = np.radians(1e-4)
    squared_eccentricity = 1 - (WGS84_B / WGS84_A) ** 2
    across = WGS84_A / np.sqrt(1 - squared_eccentricity * np.sin(phi) ** 2)
    along = across * (1 - squared_eccentricity) / (1 - squared_eccentricity * np.sin(phi) ** 2)
    origin, north, east = earth_centred(np.array([55.75, 55.7501, 55.75]), np.array([37.62, 37.62, 37.6201]))
    assert np.linalg.norm(north - origin) == pytest.approx(along * step, rel=1e-5)
    assert np.linalg.norm(east - origin) == pytest.approx(across * np.cos(phi) * step, rel=1e-5)


def test_neighbours_are_found_across_the_date_line():
    queries = earth_centred([-18.0], [179.9999])
    database = earth_centred([-18.0, -18.0], [-179.9999, -179.99])
    np.testing.assert_array_equal(neighbours_within(queries, database, radius=25)[0], [0])


@pytest.mark.parametrize(("radius", "exclude_within"), [(0, 0), (-1, 0), (5, 5), (5, -1), (float("nan"), 0)])
def test_bounds_in_the_wrong_order_are_refused(radius, exclude_within):
    with pytest.raises(ValueError, match=r"0 <= exclude_within < radius. Received: radius="):
        neighbours_within(np.zeros((1, 2)), np.zeros((1, 2)), radius, exclude_within)


def test_different_coordinate_systems_are_refused():
    with pytest.raises(ValueError, match=r"one coordinate system. Received: queries.shape=\(1, 2\)"):
        neighbours_within(np.zeros((1, 2)), np.zeros((1, 3)), radius=1)


@pytest.mark.parametrize("query", [1, -2])
def test_a_query_that_does_not_exist_is_an_index_error(query):
    with pytest.raises(IndexError, match=f"Received: query={query}"):
        Neighbours(np.array([0, 1]), np.array([3]))[query]


@pytest.mark.parametrize(
    ("latitude", "longitude", "message"),
    [
        ([0, 139.7], [0, 35.7], r"`latitude` must be degrees in \[-90, 90\]. Received: latitude\[1\]=139.7"),
        ([0], [181], r"`longitude` must be degrees in \[-180, 180\]. Received: longitude\[0\]=181"),
        ([float("nan")], [0], r"`latitude` must be degrees"),
    ],
)
def test_degrees_out_of_range_are_refused(latitude, longitude, message):
    with pytest.raises(ValueError, match=message):
        earth_centred(latitude, longitude)
