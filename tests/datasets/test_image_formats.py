import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sare.datasets import decode_image


def pixels(channels=3, highest=255):
    rows, columns = np.mgrid[:40, :56]
    waves = [0.5 + 0.4 * np.sin(channel + rows / (5 + channel) + columns / 7) for channel in range(channels)]
    return np.round(highest * np.stack(waves, axis=-1))


def encode(picture, file_format, **options):
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def assert_as_pillow(contents):
    expected = np.asarray(Image.open(io.BytesIO(contents)).convert("RGB"))
    np.testing.assert_array_equal(decode_image(contents), expected)


@pytest.fixture
def picture():
    return Image.fromarray(pixels().astype(np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_of_any_kind_decodes_to_the_pixels_of_pillow(picture, mode, progressive):
    assert_as_pillow(encode(picture.convert(mode), "JPEG", progressive=progressive))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_a_jpeg_of_any_subsampling_decodes_to_the_pixels_of_pillow(picture, subsampling):
    assert_as_pillow(encode(picture, "JPEG", subsampling=subsampling))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_a_png_of_any_kind_decodes_to_the_pixels_of_pillow(picture, mode):
    if mode.endswith("A"):
        picture.putalpha(Image.fromarray(pixels(1)[..., 0].astype(np.uint8)))
    assert_as_pillow(encode(picture.convert(mode), "PNG"))


def test_a_palette_with_a_transparent_colour_keeps_its_colours(picture):
    assert_as_pillow(encode(picture.quantize(16), "PNG", transparency=3))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_of_16_bits_gives_the_upper_eight(channels):
    deep = pixels(channels, 65535).astype(np.uint16)
    colours = deep[..., : 3 if channels > 2 else 1]
    expected = np.broadcast_to(colours >> 8, (*deep.shape[:2], 3))
    np.testing.assert_array_equal(decode_image(tf.io.encode_png(deep)), expected)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_gif_of_one_frame_decodes_to_the_pixels_of_pillow(picture, mode):
    assert_as_pillow(encode(picture.convert(mode), "GIF"))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [False, True])
def test_a_webp_of_any_kind_decodes_to_the_pixels_of_pillow(picture, mode, lossless):
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(pixels(1)[..., 0].astype(np.uint8)))
    assert_as_pillow(encode(picture.convert(mode), "WEBP", lossless=lossless, exact=True))


@pytest.mark.parametrize("file_format", ["GIF", "WEBP"])
def test_an_animation_is_refused(picture, file_format):
    frames = [picture, picture.transpose(Image.Transpose.ROTATE_180)]
    contents = encode(frames[0], file_format, save_all=True, append_images=frames[1:])
    with pytest.raises(tf.errors.InvalidArgumentError, match="animat"):
        decode_image(contents)


@pytest.mark.parametrize("file_format", ["BMP", "TIFF"])
def test_other_formats_are_refused(picture, file_format):
    with pytest.raises(tf.errors.InvalidArgumentError, match="not a JPEG, PNG, GIF or WebP image"):
        decode_image(encode(picture, file_format))
