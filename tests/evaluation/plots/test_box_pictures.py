import numpy as np
import pytest
from PIL import Image

from keras_sare.evaluation.plots.box_pictures import BoxedPicture, box_gallery, box_in_pixels

GREEN = (0x1A, 0x7F, 0x37)
RED = (0xCF, 0x22, 0x2E)
YELLOW = (0xF0, 0xE4, 0x42)


def picture(grey=120, height=60, width=80):
    return np.full((height, width, 3), grey, np.uint8)


def row(*verdicts, box=(10, 10, 50, 40)):
    found = [BoxedPicture(picture(), box, 0.8 - i / 10, verdict) for i, verdict in enumerate(verdicts)]
    return [BoxedPicture(picture(200), box, caption="query"), *found]


def pixels(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def has(part, colour):
    return bool((part == colour).all(-1).any())


def test_boxes_of_a_map_that_fits_the_photo_have_whole_positions():
    assert box_in_pixels(np.array([1, 2, 10, 20]), (30, 40), (480, 640)) == (32, 16, 320, 160)


def test_boxes_reach_the_edge_of_a_photo_that_is_no_multiple_of_a_position():
    assert box_in_pixels(np.array([0, 0, 23, 31]), (23, 31), (375, 500)) == (0, 0, 500, 375)
    assert box_in_pixels(np.array([0, 0, 1, 1]), (23, 31), (750, 1000)) == pytest.approx((0, 0, 1000 / 31, 750 / 23))


@pytest.mark.parametrize("verdicts", [(True, False), (False, True), (None, True), (False, None)])
def test_frames_tell_right_from_wrong_from_unknown(tmp_path, verdicts):
    box_gallery(tmp_path / "boxes.png", [row(*verdicts)])

    drawn = pixels(tmp_path / "boxes.png")
    third = drawn.shape[1] // 3
    assert not has(drawn[:, :third], GREEN)
    for verdict, part in zip(verdicts, (drawn[:, third : 2 * third], drawn[:, 2 * third :]), strict=True):
        assert has(part, GREEN) == (verdict is True)
        assert has(part, RED) == (verdict is False)


def test_a_box_is_drawn_where_it_is_in_the_photo(tmp_path):
    photo = BoxedPicture(picture(120, 400, 400), (100, 200, 300, 320))
    box_gallery(tmp_path / "boxes.png", [[photo]], titles=[""])

    drawn = pixels(tmp_path / "boxes.png")
    grey = np.argwhere((drawn == 120).all(-1))
    top, left = grey.min(axis=0)
    bottom, right = grey.max(axis=0) + 1
    yellow = np.argwhere((drawn == YELLOW).all(-1))
    first_y, first_x = yellow.min(axis=0)
    last_y, last_x = yellow.max(axis=0) + 1
    found = [(first_x - left) / (right - left), (first_y - top) / (bottom - top)]
    found += [(last_x - left) / (right - left), (last_y - top) / (bottom - top)]
    np.testing.assert_allclose(found, [0.25, 0.5, 0.75, 0.8], atol=0.015)


def test_a_box_stays_where_it_is_when_a_large_photo_is_reduced(tmp_path):
    small = picture(120, 300, 200)
    large = picture(120, 1200, 800)
    box = np.array([20, 60, 180, 250])

    box_gallery(tmp_path / "small.png", [[BoxedPicture(small, tuple(box))]], longest_side=300)
    box_gallery(tmp_path / "large.png", [[BoxedPicture(large, tuple(4.0 * box))]], longest_side=300)

    np.testing.assert_array_equal(pixels(tmp_path / "small.png"), pixels(tmp_path / "large.png"))


def test_all_four_sides_of_a_box_as_large_as_the_photo_are_seen(tmp_path):
    box_gallery(tmp_path / "boxes.png", [[BoxedPicture(picture(), (0, 0, 80, 60), 0.5, True)]])

    drawn = pixels(tmp_path / "boxes.png")
    yellow = (drawn == YELLOW).all(-1)
    framed = np.argwhere((drawn == GREEN).all(-1))
    top, left = framed.min(axis=0)
    bottom, right = framed.max(axis=0)
    middle = (top + bottom) // 2, (left + right) // 2
    quarter_y = (bottom - top) // 4
    quarter_x = (right - left) // 4
    assert yellow[middle[0], left : left + quarter_x].any()
    assert yellow[middle[0], right - quarter_x : right].any()
    assert yellow[top : top + quarter_y, middle[1]].any()
    assert yellow[middle[0] : bottom, middle[1]].any()


def test_rows_may_be_of_unlike_lengths_and_photos_without_boxes(tmp_path):
    rows = [row(True, True, False), row(True), [BoxedPicture(picture(), None, 0.5, True)]]

    box_gallery(tmp_path / "boxes.png", rows, titles=("photo", "first"))

    drawn = pixels(tmp_path / "boxes.png")
    assert has(drawn, YELLOW)
    assert has(drawn, RED)


def test_a_gallery_grows_with_its_rows(tmp_path):
    box_gallery(tmp_path / "one.png", [row(True)])
    box_gallery(tmp_path / "three.png", [row(True)] * 3)

    assert pixels(tmp_path / "three.png").shape[0] > 2.4 * pixels(tmp_path / "one.png").shape[0]


def test_photos_are_read_from_files(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "photo.png")

    box_gallery(tmp_path / "file.png", [[BoxedPicture(tmp_path / "photo.png", (10, 10, 50, 40), 0.5, False)]])
    box_gallery(tmp_path / "array.png", [[BoxedPicture(picture(), (10, 10, 50, 40), 0.5, False)]])

    np.testing.assert_array_equal(pixels(tmp_path / "file.png"), pixels(tmp_path / "array.png"))


def test_photo_is_drawn_in_the_orientation_that_its_box_is_of(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(picture()).save(tmp_path / "phone.jpg", exif=exif, quality=95)
    with Image.open(tmp_path / "phone.jpg") as image:
        assert image.getexif()[0x0112] == 6
        stored = np.asarray(image)

    for orientation, array, box in (
        ("stored", stored, (10, 10, 70, 20)),
        ("upright", np.rot90(stored, -1), (10, 10, 20, 70)),
    ):
        for name, photo in (("file", tmp_path / "phone.jpg"), ("array", array)):
            box_gallery(tmp_path / f"{name}.png", [[BoxedPicture(photo, box)]], orientation=orientation)
        np.testing.assert_array_equal(pixels(tmp_path / "file.png"), pixels(tmp_path / "array.png"))


def test_no_partial_file_stays_when_drawing_fails(tmp_path):
    with pytest.raises(FileNotFoundError):
        box_gallery(tmp_path / "boxes.png", [[BoxedPicture(tmp_path / "missing.jpg", None)]])

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", [[], [[]], [row(True), []]])
def test_an_empty_gallery_is_refused(tmp_path, rows):
    with pytest.raises(ValueError, match="`rows` must hold at least one row, and each a query"):
        box_gallery(tmp_path / "boxes.png", rows)


def test_an_array_that_is_no_rgb_picture_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\].*Received: dtype=float64, shape=\(3, 4\)"):
        box_gallery(tmp_path / "boxes.png", [[BoxedPicture(np.zeros((3, 4)), None)]])
