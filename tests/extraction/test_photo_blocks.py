"""Photos to descriptors block by block: batches of one shape, what fails left out with the reason, bounded memory."""

import hashlib
import io
import threading

import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets.images.pixels import ShorterSide
from keras_sare.datasets.photo_sources.source_photo import SourcePhoto
from keras_sare.extraction.extractor import DescriptionError
from keras_sare.extraction.photo_blocks.block_extractor import BlockExtractor
from keras_sare.extraction.photo_blocks.photo_reader import read_photo
from keras_sare.extraction.photo_blocks.pixel_model import PixelModel, pixel_decoder
from keras_sare.extraction.photo_blocks.unusable import UnusablePhotoError

HOW = {"orientation": "upright", "antialias": True}
LONDON = (51.5, -0.1)


def model(describe, size=16, batch=3, decode=None):
    return PixelModel("small", "digest", HOW, decode or (lambda contents: pixels_of(contents)), describe, size, batch)


def pixels_of(contents):
    """Of a file that holds height, width and a value as its bytes."""
    if contents == b"bad":
        raise UnusablePhotoError("truncated or damaged")
    height, width, value = contents
    return np.full((height, width, 3), value, np.uint8)


def means(images):
    return np.stack([images.mean(axis=(1, 2, 3)), np.ones(len(images))], axis=1).astype(np.float32)


def write(folder, files):
    for number, contents in enumerate(files):
        (folder / f"{number}.x").write_bytes(contents)
    return [SourcePhoto(f"{number}", f"{folder}/{number}.x", LONDON) for number in range(len(files))]


def described(extractor, photos):
    blocks = [*extractor(photos)]
    names = [photo.name for block in blocks for photo in block.photos]
    values = [float(row[0]) for block in blocks for row in block.descriptors]
    left_out = {photo.name: reason for block in blocks for photo, reason in block.left_out}
    assert all(block.descriptors.dtype == np.float16 for block in blocks)
    return dict(zip(names, values, strict=True)), left_out, [len(block) for block in blocks]


def test_batches_hold_one_shape_and_at_most_so_many_images(tmp_path):
    shapes = []

    def describe(images):
        assert images.dtype == np.float32
        shapes.append(images.shape)
        return means(images)

    files = [bytes([6 + i % 2, 8, i]) for i in range(30)]
    extractor = BlockExtractor(model(describe), "degrees", 1e6, 100, 4)
    found, left_out, blocks = described(extractor, write(tmp_path, files))
    assert found == {str(i): i for i in range(30)}
    assert (left_out, blocks) == ({}, [12, 12, 6])
    assert shapes == [(3, 6, 8, 3), (3, 6, 8, 3), (3, 7, 8, 3), (3, 7, 8, 3)] * 2 + [(3, 6, 8, 3), (3, 7, 8, 3)]


def test_photos_that_cannot_be_used_are_left_out_with_the_reason_and_harm_no_other(tmp_path):
    def describe(images):
        bad = np.flatnonzero(images[:, 0, 0, 0] == 4)
        if len(bad):
            raise DescriptionError("too small", bad)
        return means(images)

    photos = write(tmp_path, [b"\6\6\1", b"bad", b"\6\6\4", b"", b"\6\6\5", bytes(200), b"\6\6\7", b"\6\6\4"])
    photos += [SourcePhoto("8", f"{tmp_path}/nowhere", LONDON), SourcePhoto("9", f"{tmp_path}/0.x", (95.0, 0.0))]
    found, left_out, _ = described(BlockExtractor(model(describe), "degrees", 1e6, 100, 2), photos)
    assert found == {"0": 1, "4": 5, "6": 7}
    assert left_out == {
        "1": "truncated or damaged",
        "2": "too small",
        "3": "empty file",
        "5": "too large: 200 bytes, at most 100 are read (max_file_mb)",
        "7": "too small",
        "8": "missing",
        "9": "its latitude is not in [-90, 90] or its longitude not in [-180, 180]",
    }


def test_no_more_photos_wait_for_the_model_than_fit_into_memory(tmp_path):
    decoded = 0
    lock = threading.Lock()
    most = 0

    def decode(contents):
        nonlocal decoded
        with lock:
            decoded += 1
        return pixels_of(contents)

    def describe(images):
        nonlocal most
        most = max(most, decoded - done)
        return means(images)

    one = model(describe, (6, 6), decode=decode)
    assert one.item_bytes == 6 * 6 * 3 * 4
    extractor = BlockExtractor(one, "degrees", 4 * 3 * one.item_bytes, 100, 8)
    done = 0
    for block in extractor(write(tmp_path, [bytes([6, 6, i]) for i in range(60)])):
        done += len(block)
    assert (done, decoded) == (60, 60)
    assert most <= 4 * 3
    with pytest.raises(ValueError, match=r"`memory_gb` must be at least .* for blocks of 3 photos"):
        BlockExtractor(one, "degrees", 1.9 * 3 * one.item_bytes, 100, 8)


def test_prepared_photos_take_what_their_size_allows():
    sizes = {(4, 5): 4 * 5 * 12, 100: 30_000, ShorterSide(10): 8 * 100 * 12}
    for size, most in sizes.items():
        assert model(means, size).item_bytes == most


def test_files_are_decoded_as_for_training_and_refused_with_the_words_of_every_reader():
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    decode = pixel_decoder((6, 8), "upright", True)
    np.testing.assert_array_equal(decode(file.getvalue()), pixels)
    with pytest.raises(UnusablePhotoError, match="not a JPEG, PNG, GIF or WebP image"):
        decode(b"something else")
    with pytest.raises(UnusablePhotoError, match="truncated or damaged"):
        decode(file.getvalue()[:60])


def picture(**exif):
    file = io.BytesIO()
    noted = Image.Exif()
    noted.get_ifd(0x8825).update({1: "S", 2: (33.0, 30.0, 0.0), 3: "E", 4: (18.0, 15.0, 0.0), 17: 90.0} if exif else {})
    Image.new("RGB", (4, 4)).save(file, "JPEG", exif=noted)
    return file.getvalue()


def test_positions_come_from_the_source_the_name_or_the_exif(tmp_path):
    name = "@702177.16@5709829.96@30@U@@@@@45@@@@20260501_120000@@.jpg"
    for file, contents in (("gps.jpg", picture(gps=True)), ("plain.jpg", picture()), (name, picture())):
        (tmp_path / file).write_bytes(contents)
    given, _ = read_photo(SourcePhoto("a", f"{tmp_path}/gps.jpg", LONDON), "degrees", 10_000)
    assert (given.position, np.isnan(given.heading)) == (LONDON, True)
    exif, _ = read_photo(SourcePhoto("a", f"{tmp_path}/gps.jpg"), "degrees", 10_000)
    assert (exif.position, exif.heading) == ((-33.5, 18.25), 90.0)
    named, _ = read_photo(SourcePhoto(name, f"{tmp_path}/{name}"), "degrees", 10_000)
    np.testing.assert_allclose(named.position, (51.5, -0.087), atol=0.01)
    assert (named.heading, named.time) == (45.0, "2026-05-01T12:00:00")
    for kind, file in (("degrees", "plain.jpg"), ("metres", "gps.jpg")):
        with pytest.raises(UnusablePhotoError, match="no position"):
            read_photo(SourcePhoto("a", f"{tmp_path}/{file}"), kind, 10_000)


def test_other_bytes_than_the_digest_says_are_refused(tmp_path):
    [photo] = write(tmp_path, [picture()])
    digest = hashlib.sha256(picture()).hexdigest().upper()
    checked = SourcePhoto("a", photo.uri, LONDON, sha256=digest)
    assert read_photo(checked, "degrees", 10_000)[1] == picture()
    with pytest.raises(UnusablePhotoError, match="another file than its sha256 says"):
        read_photo(SourcePhoto("a", photo.uri, LONDON, sha256="0" * 64), "degrees", 10_000)
