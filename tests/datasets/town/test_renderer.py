"""Photos of scenes simple enough to know what must be where."""

import numpy as np
import pytest

from keras_sare.datasets.town.billboards import SIZES, Billboard, draw_sprite
from keras_sare.datasets.town.camera import EYE, FIELD_OF_VIEW, HORIZON, Camera
from keras_sare.datasets.town.canvas import Canvas
from keras_sare.datasets.town.lighting import Lighting
from keras_sare.datasets.town.renderer import Renderer
from keras_sare.datasets.town.stock import WIDTHS, Stock
from keras_sare.datasets.town.streets import Street, traffic
from keras_sare.datasets.town.walls import Walls, cast

SIZE = (96, 128)
AHEAD = Camera(0, -2, np.pi / 2)
WALL = Walls(np.array([[-4.0, 8.0]]), np.array([[4.0, 8.0]]), np.array([0]), np.array([5.0]))
PLAIN = Lighting(np.ones(3), np.zeros(3), 0.0, np.zeros(3), np.zeros(3), 0.0, 0.0, 0.0, 0.0)


@pytest.fixture
def renderer() -> Renderer:
    rng = np.random.default_rng(0)
    canvas = Canvas(8, 5)
    canvas.box((0, 8), (0, 5), (1, 0, 0))
    canvas.box((0, 2), (0, 5), (0, 1, 0))
    canvas.box((6, 7), (3, 4), (0, 0, 1), window=20)
    return Renderer([canvas.weathered(rng)], SIZE, rng)


def shoot(renderer: Renderer, things: list[Billboard], light: Lighting = PLAIN) -> np.ndarray:
    return renderer.render(WALL, things, AHEAD, light, np.random.default_rng(1)).astype(int)


def pixel(right: float, up: float, distance: float) -> tuple[int, int]:
    focal = SIZE[1] / 2 / np.tan(FIELD_OF_VIEW / 2)
    return int(HORIZON * SIZE[0] - focal * (up - EYE) / distance), int(SIZE[1] / 2 + focal * right / distance)


def test_a_photo_has_the_size_and_type_asked_for(renderer: Renderer) -> None:
    photo = renderer.render(WALL, [], AHEAD, PLAIN, np.random.default_rng(1))
    assert photo.shape == (*SIZE, 3)
    assert photo.dtype == np.uint8


@pytest.mark.parametrize(
    ("right", "up", "channel"), [(-3.0, 1.0, 1), (-1.5, 1.0, 0), (2.5, 3.5, 2), (1.5, 3.5, 0), (3.5, 4.7, 0)]
)
def test_each_part_of_a_front_appears_where_perspective_puts_it(
    renderer: Renderer, right: float, up: float, channel: int
) -> None:
    colour = shoot(renderer, [])[pixel(right, up, 10)]
    assert colour.argmax() == channel
    assert colour[channel] > 200


def test_the_sky_begins_above_the_roof_and_beside_the_wall(renderer: Renderer) -> None:
    photo = shoot(renderer, [])
    assert photo[pixel(0, 5.4, 10)].max() == 0
    assert photo[pixel(4.3, 3, 10)].max() == 0
    assert photo[pixel(0, 4.6, 10)].max() > 200


def test_a_car_hides_the_front_behind_it_and_not_what_stands_above(renderer: Renderer) -> None:
    car = Billboard("car", 0, 3, np.array([0.0, 0.0, 1.0]), 1.0, 0)
    with_car = shoot(renderer, [car])
    without = shoot(renderer, [])
    assert with_car[pixel(0, 0.6, 5)].argmax() == 2
    above = slice(0, pixel(0, 1.7, 5)[0])
    np.testing.assert_array_equal(with_car[above], without[above])


def test_what_stands_behind_a_wall_or_the_camera_or_too_near_is_not_drawn(renderer: Renderer) -> None:
    hidden = [Billboard("person", 0, across, np.ones(3), 1.0, 0) for across in (9.0, -4.0, -1.0)]
    np.testing.assert_array_equal(shoot(renderer, hidden), shoot(renderer, []))


def test_the_nearer_of_two_cars_hides_the_other_in_any_order(renderer: Renderer) -> None:
    cars = [Billboard("car", 0, across, np.array(paint), 1.0, 0) for across, paint in ((2, (0, 1, 0)), (5, (0, 0, 1)))]
    photo = shoot(renderer, cars)
    assert photo[pixel(0, 0.6, 4)].argmax() == 1
    np.testing.assert_array_equal(photo, shoot(renderer, cars[::-1]))


def test_windows_glow_at_night_where_their_lamps_are_on(renderer: Renderer) -> None:
    dark = Lighting(np.full(3, 0.01), np.zeros(3), 0.0, np.zeros(3), np.zeros(3), 0.0, 0.0, 0.0, 0.0)
    lit = Lighting(np.full(3, 0.01), np.zeros(3), 0.0, np.zeros(3), np.zeros(3), 1.0, 0.0, 0.0, 0.0)
    window = pixel(2.5, 3.5, 10)
    wall = pixel(1.5, 3.5, 10)
    assert shoot(renderer, [], dark)[window].max() < 60
    assert shoot(renderer, [], lit)[window].max() > 150
    np.testing.assert_array_equal(shoot(renderer, [], lit)[wall], shoot(renderer, [], dark)[wall])


@pytest.mark.parametrize("kind", SIZES)
def test_each_sprite_covers_part_of_its_box_with_colours_or_paint(kind: str) -> None:
    colour, cover = draw_sprite(kind, np.random.default_rng(0))
    assert 0.1 < cover.mean() < 1
    shown = colour[cover]
    assert ((shown >= 0) & (shown <= 1) | np.isnan(shown)).all()


def test_a_stock_has_each_front_once_and_draws_the_width_asked_for() -> None:
    stock = Stock(np.random.default_rng(0))
    assert len({front.albedo.tobytes() for front in stock.fronts}) == len(stock.fronts)
    rng = np.random.default_rng(1)
    for width in WIDTHS:
        assert {stock.fronts[stock.draw(rng, width)].width for _ in range(20)} == {width}
    assert stock.blank not in {stock.draw(rng) for _ in range(2000)}


def test_a_street_is_closed_so_that_every_sight_from_its_middle_meets_a_wall() -> None:
    rng = np.random.default_rng(0)
    street = Street.draw(40.0, Stock(rng), rng)
    turn = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    _, depth, _ = cast(street.walls, np.array([20.0, 0.0]), np.stack([np.cos(turn), np.sin(turn)], 1))
    assert np.isfinite(depth).all()


def test_fronts_repeat_between_streets_but_their_order_does_not() -> None:
    rng = np.random.default_rng(0)
    stock = Stock(rng)
    streets = [Street.draw(88.0, stock, rng).walls.front for _ in range(8)]
    shared = [
        set(first) & set(second) - {stock.blank} for first in streets for second in streets if first is not second
    ]
    assert np.mean([len(fronts) > 0 for fronts in shared]) > 0.5
    assert len({tuple(fronts) for fronts in streets}) == len(streets)


def test_traffic_differs_between_two_moments_and_keeps_off_the_middle_of_the_road() -> None:
    rng = np.random.default_rng(0)
    first = traffic(80.0, rng)
    second = traffic(80.0, rng)
    assert [thing.along for thing in first] != [thing.along for thing in second]
    assert min(abs(thing.across) for thing in first + second) >= 3
