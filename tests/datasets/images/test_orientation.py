import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_sare.datasets import decode_image, image_batches, image_sizes, load_image
from keras_sare.datasets.images.orientation import (
    exif_orientation,
    orientation_of_bytes,
    picture_orientation,
    turn_picture,
)

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


@pytest.fixture(scope="module", params=["in a graph", "in Python"])
def orientations(request):
    """Orientations of many files, int [n]; by one graph that is made once, or by Python."""
    if request.param == "in Python":
        return lambda *files: [orientation_of_bytes(file) for file in files]
    function = tf.function(
        lambda files: tf.map_fn(exif_orientation, files, fn_output_signature=tf.int32),
        [tf.TensorSpec([None], tf.string)],
    )
    return lambda *files: function(tf.constant(files, tf.string)).numpy().tolist()


@pytest.fixture(scope="module")
def decode():
    return tf.function(lambda contents: decode_image(contents), [tf.TensorSpec([], tf.string)])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_all_orientations_are_turned_as_pillow_turns_them(decode, file_format, order):
    for orientation in range(1, 9):
        contents = encode(file_format, exif(orientation, order))
        stored = Image.open(io.BytesIO(contents))
        expected = ImageOps.exif_transpose(stored).convert("RGB")
        assert expected.size == ((20, 12) if orientation < 5 else (12, 20))
        np.testing.assert_array_equal(decode(contents), expected)
        np.testing.assert_array_equal(decode_image(contents, orientation="stored"), stored.convert("RGB"))


def test_turning_runs_eagerly_and_in_a_dataset(decode):
    contents = encode("JPEG", exif(6))
    expected = decode(contents)
    np.testing.assert_array_equal(decode_image(contents), expected)
    dataset = tf.data.Dataset.from_tensors(contents).map(lambda one: decode_image(one))
    np.testing.assert_array_equal(dataset.get_single_element(), expected)


@pytest.fixture
def photos(tmp_path):
    """The same picture nine times: without a tag, then stored turned, with each of the tags that turn it back."""
    stored = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Transpositions that undo those of the tags.
    paths = [tmp_path / "plain.png", *(tmp_path / f"{tag}.{'webp' if tag % 2 else 'png'}" for tag in stored)]
    picture().save(paths[0])
    for path, (tag, undo) in zip(paths[1:], stored.items(), strict=True):
        turned = picture() if undo is None else picture().transpose(Image.Transpose(undo))
        turned.save(path, exif=exif(tag), lossless=True)
    return [str(path) for path in paths]


@pytest.mark.parametrize("size", [None, 13, (12, 20)])
def test_photos_that_a_viewer_shows_alike_are_read_alike(photos, size):
    expected = load_image(photos[0], size)
    pixels = {}
    for indices, images in image_batches(photos, size, 4):
        pixels.update(zip(indices.numpy().tolist(), images.numpy(), strict=True))
    assert len(pixels) == len(photos)
    for number, photo in enumerate(photos):
        np.testing.assert_array_equal(pixels[number], expected)
        np.testing.assert_array_equal(load_image(photo, size), expected)
    boxes = np.tile([2.0, 1, 9, 11], (len(photos), 1))
    for _, images in image_batches(photos, None, len(photos), boxes):
        np.testing.assert_array_equal(images, np.tile(load_image(photos[0])[1:11, 2:9], (len(images), 1, 1, 1)))


def test_sizes_are_those_of_the_pixels_that_are_read(photos):
    for orientation in ("upright", "stored"):
        expected = [load_image(photo, orientation=orientation).shape[:2] for photo in photos]
        assert image_sizes(photos, orientation).tolist() == list(map(list, expected))
    assert {tuple(size) for size in image_sizes(photos).tolist()} == {(12, 20)}


def test_stored_pixels_are_left_as_they_are(photos):
    [(_, resized)] = image_batches(photos, (7, 9), len(photos), orientation="stored")
    for photo, image in zip(photos, resized, strict=True):
        stored = np.asarray(Image.open(photo).convert("RGB"))
        np.testing.assert_array_equal(load_image(photo, orientation="stored"), stored)
        np.testing.assert_array_equal(image, tf.image.resize(stored, (7, 9), antialias=True))


@pytest.mark.parametrize("size", [None, 13, (7, 9)])
def test_images_without_a_tag_have_the_same_bits_either_way(photos, size):
    np.testing.assert_array_equal(load_image(photos[0], size), load_image(photos[0], size, orientation="stored"))


def test_a_box_outside_of_the_upright_image_is_named(photos):
    stored = next(photo for photo in photos if image_sizes([photo], "stored").tolist() == [[20, 12]])
    with pytest.raises(ValueError, match="holds no pixel of its 20 x 12"):
        load_image(stored, box=(2, 14, 9, 18))
    assert load_image(stored, box=(2, 14, 9, 18), orientation="stored").shape == (4, 7, 3)


@pytest.mark.parametrize("read", [load_image, lambda path, orientation: image_sizes([path], orientation)])
def test_an_unknown_orientation_is_named(photos, read):
    with pytest.raises(ValueError, match="`orientation` must be one of upright, stored. Received: orientation='exif'"):
        read(photos[0], orientation="exif")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged EXIF.
def test_pillow_reads_and_turns_as_tensorflow_does(orientations):
    whole = exif(6)
    rng = np.random.default_rng(0)
    notes = [exif(value, order, kind) for value in range(11) for order in ORDERS for kind in (3, 4)]
    notes += [whole[:length] for length in range(0, len(whole), 7)] + [whole[:12] + b"\xff\xff" + whole[14:]]
    for _ in range(200):
        garbled = np.frombuffer(whole, np.uint8).copy()
        places = rng.random(garbled.size) < 0.03
        garbled[places] = rng.choice([0, 1, 6, 0x7F, 0x80, 0xFF], places.sum())
        notes.append(garbled.tobytes())
    files = [encode(kind, note) for kind in ("JPEG", "PNG", "WEBP") for note in notes]
    opened = [Image.open(io.BytesIO(file)) for file in files]
    found = [picture_orientation(one) for one in opened]
    assert found == orientations(*files)
    assert len(set(found)) == 8
    for contents, one in zip(files[:40], opened, strict=False):
        np.testing.assert_array_equal(turn_picture(one).convert("RGB"), decode_image(contents))


def test_notes_that_viewers_do_not_look_at_turn_nothing(tmp_path):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>'
    picture().save(tmp_path / "noted.jpg", xmp=xmp)
    with Image.open(tmp_path / "noted.jpg") as opened:
        assert opened.getexif()[0x0112] == 6
        assert turn_picture(opened).size == (20, 12)
    assert load_image(tmp_path / "noted.jpg").shape == (12, 20, 3)


@pytest.mark.parametrize("orientation", [2, 3, 6, 7])
def test_resizing_gives_what_it_gives_for_the_turned_image(tmp_path, orientation):
    contents = encode("PNG", exif(orientation))
    turned = tmp_path / "turned.png"
    ImageOps.exif_transpose(Image.open(io.BytesIO(contents))).save(turned)
    resized = decode_image(contents, (7, 9))
    # The two passes of the filter change places: only rounding differs.
    np.testing.assert_allclose(resized, load_image(turned, (7, 9)), atol=1e-3)
    np.testing.assert_array_equal(decode_image(contents, 13), load_image(turned, 13))
    box = (2, 1, 9, 11)
    np.testing.assert_array_equal(decode_image(contents, 13, box), load_image(turned, 13, box))


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
    assert found == [orientation_of_bytes(one) for one in damaged]
    assert set(found) <= set(range(1, 9))
    assert 0 < found.count(6) < len(found)
