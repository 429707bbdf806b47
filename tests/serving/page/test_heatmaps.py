"""What agreed in two photos: where it is shown, of which model, and for whose photos."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image, ImageDraw

from keras_sare.layers import MAC
from keras_sare.localization import IndexRecord
from keras_sare.models.model_file import identity_of, weights_digest
from serving.page.heatmaps import HeatMaps, open_heat_maps

SIZE = (256, 192)
LEFT = (24, 24, 64, 64)
RIGHT = (184, 104, 224, 144)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """The greatest red, green and blue of a photo: what agrees is where a colour is that both have."""
    images = keras.Input((None, None, 3))
    dark = keras.layers.Rescaling(1 / 255)(keras.layers.AveragePooling2D(16)(images))
    return keras.Model(images, MAC()(dark))


def photo(*blocks: tuple[tuple[int, ...], str], kind: str = "PNG", turn: int = 1) -> bytes:
    picture = Image.new("RGB", SIZE)
    for place, colour in blocks:
        ImageDraw.Draw(picture).rectangle(place, colour)
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = turn
    picture.save(file, kind, exif=exif)
    return file.getvalue()


def strongest(picture: bytes) -> tuple[float, float]:
    """Where a picture is least transparent, as shares of its width and height."""
    alpha = np.asarray(Image.open(io.BytesIO(picture)))[..., 3]
    assert alpha.max() > 150
    row, column = np.unravel_index(alpha.argmax(), alpha.shape)
    return (column + 0.5) / alpha.shape[1], (row + 0.5) / alpha.shape[0]


def centre(block: tuple[int, ...]) -> tuple[float, float]:
    return (block[0] + block[2]) / 2 / SIZE[0], (block[1] + block[3]) / 2 / SIZE[1]


def test_what_both_photos_have_glows_where_each_has_it(model: keras.Model) -> None:
    first = photo((LEFT, "red"), (RIGHT, "blue"))
    second = photo((RIGHT, "red"), (LEFT, "lime"), kind="JPEG")
    pictures = HeatMaps(model).of(first, second)
    assert strongest(pictures[0]) == pytest.approx(centre(LEFT), abs=0.08)
    assert strongest(pictures[1]) == pytest.approx(centre(RIGHT), abs=0.08)
    alpha = np.asarray(Image.open(io.BytesIO(pictures[0])))[..., 3]
    assert alpha.shape == SIZE[::-1]
    assert alpha[124, 204] < 10


@pytest.mark.parametrize("orientation", ["upright", "stored"])
def test_of_a_turned_photo_the_browser_is_given_what_lies_over_it_upright(model: keras.Model, orientation: str) -> None:
    """Orientation 6: shown, the left of the stored photo is at the top, its top at the right."""
    first = photo((LEFT, "red"), (RIGHT, "blue"), kind="JPEG", turn=6)
    shown, _ = HeatMaps(model, orientation).of(first, photo((RIGHT, "red")))
    assert Image.open(io.BytesIO(shown)).size == SIZE[::-1]
    across, down = centre(LEFT)
    assert strongest(shown) == pytest.approx((1 - down, across), abs=0.08)


def test_models_of_one_size_see_the_whole_photo() -> None:
    images = keras.Input((96, 96, 3))
    model = keras.Model(images, MAC()(keras.layers.AveragePooling2D(8)(images)))
    shown, _ = HeatMaps(model).of(photo((LEFT, "red"), (RIGHT, "blue")), photo((RIGHT, "red")))
    assert Image.open(io.BytesIO(shown)).size == SIZE
    assert strongest(shown) == pytest.approx(centre(LEFT), abs=0.08)


@pytest.mark.parametrize("damage", [lambda _: b"", lambda data: data[:200], lambda _: b"GIF89a" + bytes(40)])
def test_a_photo_that_is_none_is_refused_in_one_line(model: keras.Model, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ValueError, match="^The photo must be a JPEG, PNG, GIF or WebP file"):
        HeatMaps(model).of(damage(photo((LEFT, "red"))), photo((LEFT, "red")))


def test_a_model_without_a_pooling_of_ours_is_refused_before_it_is_needed() -> None:
    images = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match="pooling layer of `keras_sare.layers`"):
        HeatMaps(keras.Model(images, keras.layers.GlobalAveragePooling2D()(images)))


def test_the_model_must_be_the_indexes(tmp_path: Path) -> None:
    images = keras.Input((None, None, 3))
    model = keras.Model(images, MAC()(keras.layers.Conv2D(4, 8, strides=8)(images)))
    path = tmp_path / "model.keras"
    model.save(path)
    versions = tmp_path / "versions"
    (versions / "3").mkdir(parents=True)
    manifest = {
        "sha256": "exported",
        "model": {"weights_sha256": weights_digest(model)},
        "preprocessing": {"orientation": "stored"},
    }
    own, exported, other = (IndexRecord(digest, "name", 4) for digest in (identity_of(model), "exported", "other"))
    open_heat_maps(path, [own], versions)
    refused(path, [exported], versions)
    (versions / "3.json").write_text(json.dumps(manifest))
    open_heat_maps(path, [own, exported], versions)
    refused(path, [own, other], versions)
    (versions / "3.json").write_text(json.dumps(manifest | {"model": {"weights_sha256": "of another"}}))
    refused(path, [exported], versions)


def refused(path: Path, records: list[IndexRecord], versions: Path) -> None:
    with pytest.raises(ValueError, match=r"^`heatmaps` must be the .keras file .* \(name, (other|exported)\)"):
        open_heat_maps(path, records, versions)
