import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_sare.datasets import decode_image, load_image
from keras_sare.datasets.orientation import exif_orientation

ORDERS = {"II": "<", "MM": ">"}


def exif(orientation, order="MM", kind=3, before=3):
    """A TIFF structure as cameras write it: other tags first, one of them with text beyond the directory."""
    pack = ORDERS[order]
    value = struct.pack(pack + "HH", orientation, 0) if kind == 3 else struct.pack(pack + "I", orientation)
    tags = [struct.pack(pack + "HHII", 0x0100 + tag, 4, 1, 640) for tag in range(before)]
    tags += [struct.pack(pack + "HHII", 0x010F, 2, 6, 200), struct.pack(pack + "HHI", 0x0112, kind, 1) + value]
    directory = struct.pack(pack + "H", len(tags)) + b"".join(tags) + struct.pack(pack + "I", 0)
    return (order.encode() + struct.pack(pack + "HI", 42, 12) + b"abcd" + directory).ljust(200, b"\0") + b"maker\0"


def picture(height=12, width=20):
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([10 * rows, 10 * columns, 100 + rows - columns], axis=-1).astype(np.uint8))


def encode(file_format, content, **options):
    buffer = io.BytesIO()
    # Pillow writes it as it is, after this prefix in a JPEG file.
    picture().save(buffer, file_format, exif=b"Exif\0\0" + content if file_format == "JPEG" else content, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def orientations():
    """Orientations of many files, int [n], by one graph that is made once."""
    function = tf.function(
        lambda files: tf.map_fn(exif_orientation, files, fn_output_signature=tf.int32),
        [tf.TensorSpec([None], tf.string)],
    )
    return lambda *files: function(tf.constant(files, tf.string)).numpy().tolist()


@pytest.fixture(scope="module")
def decode():
    return tf.function(lambda contents: decode_image(contents, upright=True), [tf.TensorSpec([], tf.string)])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_all_orientations_are_turned_as_pillow_turns_them(decode, file_format, order):
    for orientation in range(1, 9):
        contents = encode(file_format, exif(orientation, order))
        stored = Image.open(io.BytesIO(contents))
        expected = ImageOps.exif_transpose(stored).convert("RGB")
        assert expected.size == ((20, 12) if orientation < 5 else (12, 20))
        np.testing.assert_array_equal(decode(contents), expected)
        np.testing.assert_array_equal(decode_image(contents), stored.convert("RGB"))


def test_turning_runs_eagerly_and_in_a_dataset(decode):
    contents = encode("JPEG", exif(6))
    expected = decode(contents)
    np.testing.assert_array_equal(decode_image(contents, upright=True), expected)
    dataset = tf.data.Dataset.from_tensors(contents).map(lambda one: decode_image(one, upright=True))
    np.testing.assert_array_equal(dataset.get_single_element(), expected)


@pytest.mark.parametrize("orientation", [2, 3, 6, 7])
def test_resizing_gives_what_it_gives_for_the_turned_image(tmp_path, orientation):
    contents = encode("PNG", exif(orientation))
    turned = tmp_path / "turned.png"
    ImageOps.exif_transpose(Image.open(io.BytesIO(contents))).save(turned)
    resized = decode_image(contents, (7, 9), upright=True)
    # The two passes of the filter change places: only rounding differs.
    np.testing.assert_allclose(resized, load_image(turned, (7, 9)), atol=1e-3)
    np.testing.assert_array_equal(decode_image(contents, 13, upright=True), load_image(turned, 13))
    box = (2, 1, 9, 11)
    np.testing.assert_array_equal(decode_image(contents, 13, box, upright=True), load_image(turned, 13, box))


def segment(marker, content):
    return marker + struct.pack(">H", len(content) + 2) + content


def app1(content):
    return segment(b"\xe1", b"Exif\0\0" + content)


def jpeg(*segments):
    return b"\xff\xd8" + b"".join(b"\xff" + part for part in segments)


def test_exif_is_found_among_other_segments(orientations):
    others = [segment(b"\xe0", b"JFIF"), segment(b"\xe1", b"http://ns.adobe.com/xap/1.0/"), segment(b"\xdb", b"")]
    assert orientations(jpeg(*others, app1(exif(8))), jpeg(b"\xff\xff\xff" + app1(exif(7)), *others)) == [8, 7]


def test_exif_after_the_pixels_of_a_webp_file_and_with_the_prefix_of_a_jpeg_is_found(orientations):
    def chunk(name, content):
        return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)

    body = (
        b"WEBP" + chunk(b"VP8X", bytes(10)) + chunk(b"VP8 ", bytes(101)) + chunk(b"EXIF", b"Exif\0\0" + exif(5, "II"))
    )
    assert orientations(b"RIFF" + struct.pack("<I", len(body)) + body) == [5]


def test_files_without_an_orientation_are_as_stored(orientations):
    without = [
        encode("PNG", b""),
        encode("WEBP", b""),
        encode("GIF", b""),
        encode("JPEG", exif(6).replace(b"\1\x12", b"\1\x13")),
    ]
    assert orientations(b"", b"\xff", b"\xff\xd8", b"\x89PNG", b"RIFF", b"text", *without) == [1] * 10


def test_values_that_are_no_orientation_are_as_stored(orientations):
    values = [exif(value) for value in (0, 9, 255, 65535)] + [exif(6, kind=4), exif(6, kind=2)]
    assert orientations(*(jpeg(app1(value)) for value in values)) == [1] * 6


def test_damaged_exif_is_as_stored(orientations):
    whole = exif(6)
    damaged = [
        whole.replace(b"MM", b"MX"),
        whole.replace(b"\0*", b"\0+"),
        whole[:4] + b"\xff\xff\xff\xff" + whole[8:],
        whole[:4] + b"\x7f\xff\xff\xff" + whole[8:],
        whole[:4] + b"\0\0\0\1" + whole[8:],
        whole[:4] + struct.pack(">I", len(whole)) + whole[8:],
        whole[:60],
        whole[:9],
        b"",
    ]
    assert orientations(jpeg(app1(whole)), *(jpeg(app1(one)) for one in damaged)) == [6] + [1] * len(damaged)


def test_a_count_of_entries_beyond_the_end_reads_those_that_are_there(orientations):
    whole = exif(6)
    assert orientations(jpeg(app1(whole[:12] + b"\xff\xff" + whole[14:]))) == [6]


def test_exif_does_not_reach_beyond_its_segment(orientations):
    short = app1(exif(6))
    assert orientations(jpeg(short[:1] + struct.pack(">H", 40) + short[3:])) == [1]


def test_files_of_many_segments_are_given_up(orientations):
    def chunks(name, size):
        return size + name + bytes(4)

    loops = [
        jpeg(*[b"\xe2\0\2"] * 5000, app1(exif(6))),
        jpeg(*[b"\xe2\0\0"] * 5000, app1(exif(6))),
        b"\xff\xd8" + b"\xff" * 50_000 + app1(exif(6)),
        b"\x89PNG\r\n\x1a\n" + chunks(b"tEXt", bytes(4)) * 5000,
        b"RIFFsizeWEBP" + b"LOOP\0\0\0\0" * 5000,
        b"RIFFsizeWEBP" + b"LOOP\xff\xff\xff\xff" * 5000,
        b"\x89PNG\r\n\x1a\n" + chunks(b"tEXt", b"\xff\xff\xff\xff"),
    ]
    assert orientations(*loops) == [1] * len(loops)


def test_no_damage_makes_reading_fail(orientations):
    rng = np.random.default_rng(0)
    files = [encode(kind, exif(6, order)) for kind in ("JPEG", "PNG", "WEBP") for order in ORDERS]
    files.append(jpeg(app1(exif(6))))
    damaged = []
    for _ in range(200):
        for contents in files:
            garbled = np.frombuffer(contents[: rng.integers(len(contents) + 1)], np.uint8).copy()
            places = rng.random(garbled.size) < 0.02
            garbled[places] = rng.choice([0, 1, 6, 0x7F, 0x80, 0xFF], places.sum())
            damaged.append(garbled.tobytes())
    found = orientations(*damaged)
    assert set(found) <= set(range(1, 9))
    assert 0 < found.count(6) < len(found)
