import numpy as np
import pytest
from PIL import Image

from keras_sare.evaluation import DEFAULT_NS, RecallReport
from keras_sare.evaluation.plots.recall_plots import GalleryRow, Match, match_gallery, recall_curves

GREEN = (0x1A, 0x7F, 0x37)
RED = (0xCF, 0x22, 0x2E)


def _report(first, ns=DEFAULT_NS, dataset="toy"):
    recalls = tuple(min(1.0, first + n / 200) for n in ns)
    return RecallReport("recall@N, 25 m", dataset, 20, 0, 200, ns, recalls)


def _picture(grey, height=30, width=40):
    return np.full((height, width, 3), grey, np.uint8)


def _row(before=False, after=True, query=None):
    query = _picture(200) if query is None else query
    return GalleryRow(query, Match(_picture(100), before, 1500.0), Match(_picture(50), after, 3.25), "hall")


def _pixels(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def _has(pixels, colour):
    return bool((pixels == colour).all(-1).any())


@pytest.mark.parametrize("ns", [DEFAULT_NS, (1, 2, 3), (1,)])
def test_curves_are_drawn_in_the_colour_of_each_report(tmp_path, ns):
    recall_curves(tmp_path / "curves.png", {"off the shelf": _report(0.2, ns), "trained": _report(0.4, ns)})

    pixels = _pixels(tmp_path / "curves.png")
    assert _has(pixels, (0xD5, 0x5E, 0x00))
    assert _has(pixels, (0x00, 0x72, 0xB2))
    assert not _has(pixels, (0x00, 0x9E, 0x73))


def test_curves_of_perfect_recall_are_drawn(tmp_path):
    recall_curves(tmp_path / "curves.png", {"trained": _report(1.0)})

    assert _has(_pixels(tmp_path / "curves.png"), (0xD5, 0x5E, 0x00))


@pytest.mark.parametrize(("before", "after"), [(False, True), (True, False), (True, True), (False, False)])
def test_frames_are_green_for_right_and_red_for_wrong(tmp_path, before, after):
    match_gallery(tmp_path / "gallery.png", [_row(before, after)])

    pixels = _pixels(tmp_path / "gallery.png")
    third = pixels.shape[1] // 3
    for correct, column in ((before, pixels[:, third : 2 * third]), (after, pixels[:, 2 * third :])):
        assert _has(column, GREEN) == correct
        assert _has(column, RED) == (not correct)


def test_pictures_stand_in_the_order_query_before_after(tmp_path):
    match_gallery(tmp_path / "gallery.png", [_row()])

    pixels = _pixels(tmp_path / "gallery.png")
    middle = pixels[pixels.shape[0] // 2]
    assert [tuple(middle[int(pixels.shape[1] * x)]) for x in (1 / 6, 1 / 2, 5 / 6)] == [
        (g,) * 3 for g in (200, 100, 50)
    ]


def test_a_gallery_grows_with_its_rows(tmp_path):
    match_gallery(tmp_path / "one.png", [_row()])
    match_gallery(tmp_path / "three.png", [_row()] * 3)

    assert _pixels(tmp_path / "three.png").shape[0] > 2.5 * _pixels(tmp_path / "one.png").shape[0]


def test_a_portrait_photo_is_no_higher_than_a_square(tmp_path):
    match_gallery(tmp_path / "square.png", [_row(query=_picture(9, 40, 40))])
    match_gallery(tmp_path / "portrait.png", [_row(query=_picture(9, 400, 40))])

    assert _pixels(tmp_path / "portrait.png").shape == _pixels(tmp_path / "square.png").shape


def test_pictures_are_read_from_files_upright(tmp_path):
    image = Image.fromarray(_picture(200, 30, 60))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    image.save(tmp_path / "query.jpg", exif=exif)

    match_gallery(tmp_path / "turned.png", [_row(query=tmp_path / "query.jpg")])
    match_gallery(tmp_path / "plain.png", [_row(query=_picture(200, 60, 30))])

    assert _pixels(tmp_path / "turned.png").shape == _pixels(tmp_path / "plain.png").shape


@pytest.mark.parametrize("side", [60, 1500])
def test_a_gallery_of_the_most_detailed_photos_stays_within_2_megabytes(tmp_path, side):
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    match_gallery(tmp_path / "gallery.png", [_row(query=noise)] * 12)

    assert (tmp_path / "gallery.png").stat().st_size <= 2_000_000
    assert _has(_pixels(tmp_path / "gallery.png"), GREEN)


def test_any_caption_is_drawn_as_it_is(tmp_path):
    captions = ["$25_a$.jpg", "a" * 500, "Площадь\n東京/é.jpg", "\\frac{"]
    matches = [Match(_picture(100), True, None, caption) for caption in captions]
    rows = [GalleryRow(_picture(200), match, match, match.caption) for match in matches]
    match_gallery(tmp_path / "gallery.png", rows)

    assert _pixels(tmp_path / "gallery.png").shape[1] < 1100


def test_no_partial_file_stays_when_drawing_fails(tmp_path):
    with pytest.raises(FileNotFoundError):
        match_gallery(tmp_path / "gallery.png", [_row(query=tmp_path / "missing.jpg")])

    assert list(tmp_path.iterdir()) == []


def test_an_empty_gallery_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`rows` must hold at least one row"):
        match_gallery(tmp_path / "gallery.png", [])


@pytest.mark.parametrize("array", [np.zeros((3, 4), np.uint8), np.zeros((3, 4, 3), np.float32)])
def test_an_array_that_is_no_rgb_picture_is_refused(tmp_path, array):
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\].*Received: dtype="):
        match_gallery(tmp_path / "gallery.png", [_row(query=array)])


def test_curves_of_different_datasets_are_refused(tmp_path):
    with pytest.raises(ValueError, match="same dataset"):
        recall_curves(tmp_path / "curves.png", {"a": _report(0.2), "b": _report(0.2, dataset="other")})
