"""EXIF orientation of images: read and applied with TensorFlow operations alone, and the same with Pillow."""

import struct
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from PIL import Image

from keras_sare.datasets.images.file_bytes import bytes_at, equal, file_length, number
from keras_sare.utils.choices import check_choice
from keras_sare.utils.settings import ORIENTATIONS

# Photos have EXIF among their first segments; the limit bounds what a file made of tiny segments can cost.
_MOST_SEGMENTS = 64
_ORIENTATION_TAG = 0x0112
_SHORT = 3
_EXIF = b"Exif\0\0"

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def check_orientation(orientation: str) -> None:
    """Checks that an argument `orientation` is one of `ORIENTATIONS`.

    Raises:
        ValueError: it is not.
    """
    check_choice("orientation", orientation, ORIENTATIONS)


def exif_orientation(contents: Any) -> Any:
    """Reads the EXIF orientation of an encoded image.

    Segment headers alone are read, so a large file costs no more than a small one.
    Called eagerly it is `orientation_of_bytes`.

    Args:
        contents: string scalar, the bytes of a JPEG, PNG or WebP file. In a PNG file only the chunks before the pixels
            are searched. Any other bytes are taken too.

    Returns:
        int32 scalar, 1 to 8; 1, which is as stored, where no orientation is noted or the note is damaged.
    """
    if tf.executing_eagerly():
        return tf.constant(orientation_of_bytes(tf.convert_to_tensor(contents).numpy()))
    return _searched(contents)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def _searched(contents: Any) -> Any:
    """`exif_orientation` in a graph; traced once for all graphs that read images."""
    first = tf.strings.substr(contents, 0, 2)
    start, end = tf.case(
        [
            (first == b"\xff\xd8", lambda: _find(contents, 2, _jpeg_segment)),
            (first == b"\x89P", lambda: _find(contents, 8, _png_chunk)),
            (first == b"RI", lambda: _find(contents, 12, _webp_chunk)),
        ],
        default=lambda: (tf.constant(0, tf.int64), tf.constant(0, tf.int64)),
    )
    return tf.cond(start < end, lambda: _orientation(contents, start, end), lambda: tf.constant(1))


def swaps_sides(orientation: Any) -> Any:
    """Whether turning upright makes the height of an image its width: orientations 5 to 8."""
    return orientation >= 5


def turn_upright(pixels: Any, orientation: Any) -> Any:
    """Turns and mirrors an image as its EXIF orientation asks, as `PIL.ImageOps.exif_transpose` does.

    Args:
        pixels: [height, width, channels].
        orientation: int32 scalar, 1 to 8.

    Returns:
        [height, width, channels]; [width, height, channels] where the orientation is 5 to 8.
    """
    return tf.cond(orientation > 1, lambda: _turn(pixels, orientation), lambda: pixels)


def picture_orientation(picture: Image.Image) -> int:
    """`exif_orientation` of a file that Pillow has opened; no pixel is decoded.

    `PIL.ImageOps.exif_transpose` knows more places where programs note an orientation (XMP, text in PNG, chunks after
    the pixels), which viewers do not look at.

    Args:
        picture: as `PIL.Image.open` gives it.

    Returns:
        1 to 8; 1, which is as stored, where no orientation is noted or the note is damaged.
    """
    return _noted(picture.info.get("exif", b"").removeprefix(_EXIF))


def turn_picture(picture: Image.Image) -> Image.Image:
    """Turns a file that Pillow has opened upright, as `decode_image` does.

    Args:
        picture: as `PIL.Image.open` gives it.
    """
    return turned(picture, picture_orientation(picture))


def turned(picture: Image.Image, orientation: int) -> Image.Image:
    """Turns and mirrors a picture as an EXIF orientation, 1 to 8, asks."""
    return picture.transpose(_TRANSPOSITIONS[orientation]) if orientation > 1 else picture


def orientation_of_bytes(contents: bytes) -> int:
    """`exif_orientation` in Python: for one file far faster than TensorFlow operations, and in `tf.numpy_function` too.

    Args:
        contents: of the file.

    Returns:
        1 to 8.
    """
    position, step = _STEPS.get(contents[:2], (len(contents), _jpeg_step))
    for _ in range(_MOST_SEGMENTS):
        if position >= len(contents):
            break
        # A segment's head is read as if zeros followed the end of the file.
        head = contents[position : position + 8 + len(_EXIF)].ljust(8 + len(_EXIF), b"\0")
        position, start, end = step(head, position, len(contents))
        if end:
            return _noted(contents[start:end])
    return 1


def _jpeg_step(head: bytes, position: int, length: int) -> tuple[int, int, int]:
    """`_jpeg_segment` in Python."""
    marker = head[1]
    end = position + 2 + int.from_bytes(head[2:4], "big")
    if marker == 0xE1 and head[4:].startswith(_EXIF):
        return length, position + 4 + len(_EXIF), end
    last = head[0] != 0xFF or marker == 0xDA
    return length if last else position + 1 if marker == 0xFF else end, 0, 0


def _png_step(head: bytes, position: int, length: int) -> tuple[int, int, int]:
    """`_png_chunk` in Python."""
    end = position + 8 + int.from_bytes(head[:4], "big")
    if head[4:8] == b"eXIf":
        return length, position + 8, end
    return length if head[4:8] == b"IDAT" else end + 4, 0, 0


def _webp_step(head: bytes, position: int, length: int) -> tuple[int, int, int]:
    """`_webp_chunk` in Python."""
    size = int.from_bytes(head[4:8], "little")
    if head[:4] == b"EXIF":
        return length, position + 8 + (len(_EXIF) if head[8:] == _EXIF else 0), position + 8 + size
    return position + 8 + size + size % 2, 0, 0


_STEPS = {b"\xff\xd8": (2, _jpeg_step), b"\x89P": (8, _png_step), b"RI": (12, _webp_step)}


def _noted(tiff: bytes) -> int:
    """`_orientation` of a TIFF structure in Python."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
    if directory + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(f"{order}H", tiff, directory)
    whole = min(count, (len(tiff) - directory - 2) // 12)
    entries = struct.iter_unpack(f"{order}HHIHxx", tiff[directory + 2 : directory + 2 + 12 * whole])
    valid = [value for tag, kind, _, value in entries if (tag, kind) == (_ORIENTATION_TAG, _SHORT) and 1 <= value <= 8]
    return max(valid, default=1)


def _turn(pixels: Any, orientation: Any) -> Any:
    turned = tf.cond(swaps_sides(orientation), lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    mirrored = [tf.reduce_any(orientation == [3, 4, 7, 8]), tf.reduce_any(orientation == [2, 3, 6, 7])]
    # A slice with a negative stride takes ten times as long.
    return tf.reverse(turned, tf.boolean_mask([0, 1], mirrored))


def _find(contents: Any, first: int, read: Callable[[Any, Any], tuple[Any, Any, Any]]) -> tuple[Any, Any]:
    """Walks the segments of a file, each read by `read`, to the one with EXIF: its (start, end), or (0, 0)."""
    length = file_length(contents)
    _, start, end = tf.while_loop(
        lambda position, start, end: (end == 0) & (position < length),
        lambda position, start, end: read(contents, position),
        (tf.constant(first, tf.int64), tf.constant(0, tf.int64), tf.constant(0, tf.int64)),
        maximum_iterations=_MOST_SEGMENTS,
    )
    return start, tf.minimum(end, length)


def _jpeg_segment(contents: Any, position: Any) -> tuple[Any, Any, Any]:
    """Position of the next segment, and start and end of the EXIF in this one, 0 and 0 where it has none."""
    head = bytes_at(contents, position, 4 + len(_EXIF))
    marker = head[1]
    end = position + 2 + number(head[2:4], False)
    # Pixels follow marker 0xDA; more bytes 0xFF may stand before a marker.
    last = (head[0] != 0xFF) | (marker == 0xDA)
    following = tf.where(last, file_length(contents), tf.where(marker == 0xFF, position + 1, end))
    return following, *_if((marker == 0xE1) & equal(head[4:], _EXIF), position + 4 + len(_EXIF), end)


def _png_chunk(contents: Any, position: Any) -> tuple[Any, Any, Any]:
    head = bytes_at(contents, position, 8)
    end = position + 8 + number(head[:4], False)
    # There may be thousands of chunks of pixels.
    following = tf.where(equal(head[4:], b"IDAT"), file_length(contents), end + 4)
    return following, *_if(equal(head[4:], b"eXIf"), position + 8, end)


def _webp_chunk(contents: Any, position: Any) -> tuple[Any, Any, Any]:
    head = bytes_at(contents, position, 8 + len(_EXIF))
    size = number(head[4:8], True)
    # Some programs write the header of a JPEG's segment here too.
    prefix = tf.where(equal(head[8:], _EXIF), tf.constant(len(_EXIF), tf.int64), 0)
    end = position + 8 + size
    return end + size % 2, *_if(equal(head[:4], b"EXIF"), position + 8 + prefix, end)


def _orientation(contents: Any, start: Any, end: Any) -> Any:
    """The orientation in the first directory of the TIFF structure that lies between `start` and `end`."""
    head = bytes_at(contents, start, 8)
    little = equal(head[:4], b"II*\0")
    directory = start + number(head[4:], little)
    # What lies beyond the end is not read: lengths in a damaged file say anything.
    count = tf.minimum(number(bytes_at(contents, directory, 2), little), (end - directory - 2) // 12)
    count = tf.where(little | equal(head[:4], b"MM\0*"), tf.maximum(count, 0), 0)
    table = tf.strings.substr(contents, tf.minimum(directory + 2, file_length(contents)), 12 * count)
    entries = tf.cast(tf.reshape(tf.io.decode_raw(table, tf.uint8), [-1, 12]), tf.int64)
    values = number(entries[:, 8:10], little)
    valid = (number(entries[:, :2], little) == _ORIENTATION_TAG) & (number(entries[:, 2:4], little) == _SHORT)
    valid &= (values >= 1) & (values <= 8)
    return tf.cast(tf.maximum(tf.reduce_max(tf.where(valid, values, 1)), 1), tf.int32)


def _if(found: Any, start: Any, end: Any) -> tuple[Any, Any]:
    return tf.where(found, start, 0), tf.where(found, end, 0)
