"""Ray casting against walls whose distances are known."""

import numpy as np

from keras_sare.datasets.town.camera import Camera, View
from keras_sare.datasets.town.walls import Walls, cast


def wall(start: tuple[float, float], end: tuple[float, float]) -> Walls:
    return Walls(np.array([start]), np.array([end]), np.array([0]), np.array([5.0]))


def test_a_wall_straight_ahead_is_met_at_its_distance_from_its_left_end() -> None:
    hit, depth, offset = cast(wall((-3, 8), (7, 8)), np.array([1.0, -2.0]), np.array([[0.0, 1.0]]))
    assert (hit[0], depth[0], offset[0]) == (0, 10.0, 4.0)


def test_depth_is_counted_along_the_optical_axis_so_a_parallel_wall_has_one_depth() -> None:
    view = View(Camera(0, -2, np.pi / 2), 24, 32)
    _, depth, offset = cast(wall((-50, 8), (50, 8)), view.eye, view.rays)
    np.testing.assert_allclose(depth, 10)
    assert (np.diff(offset) > 0).all(), "columns run from the wall's left to its right"


def test_the_nearer_of_two_walls_hides_the_other() -> None:
    walls = Walls.join([wall((-5, 9), (5, 9)), wall((-5, 4), (5, 4))])
    hit, depth, _ = cast(walls, np.zeros(2), np.array([[0.0, 1.0]]))
    assert (hit[0], depth[0]) == (1, 4.0)


def test_a_ray_past_the_walls_and_walls_behind_the_eye_have_infinite_depth() -> None:
    rays = np.array([[1.0, 0.0], [0.0, -1.0]])
    _, depth, offset = cast(wall((-5, 4), (5, 4)), np.zeros(2), rays)
    assert np.isinf(depth).all()
    assert (offset == 0).all()


def test_casting_agrees_with_a_loop_over_random_walls() -> None:
    rng = np.random.default_rng(0)
    walls = Walls(rng.uniform(-9, 9, (20, 2)), rng.uniform(-9, 9, (20, 2)), np.zeros(20, int), np.ones(20))
    rays = rng.normal(size=(50, 2))
    eye = np.array([0.3, -0.2])
    hit, depth, offset = cast(walls, eye, rays)
    for number, ray in enumerate(rays):
        found = []
        for start, end in zip(walls.start, walls.end, strict=True):
            along, share = np.linalg.solve(np.stack([ray, start - end], 1), start - eye)
            found.append(along if along > 0.05 and 0 <= share < 1 else np.inf)
        np.testing.assert_allclose(depth[number], min(found))
        if np.isfinite(min(found)):
            assert hit[number] == np.argmin(found)
            met = eye + depth[number] * ray
            np.testing.assert_allclose(np.linalg.norm(met - walls.start[hit[number]]), offset[number])
