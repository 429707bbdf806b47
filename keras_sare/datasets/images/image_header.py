"""What the header of an encoded image declares, read with TensorFlow operations alone before a pixel is decoded.

Decoders allocate the pixels that a header declares: 34 bytes can ask for a gigabyte. The size of each format is read
here from the bytes that its decoder takes it from, and a file whose size is not found there is refused.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from keras_sare.datasets.images.file_bytes import bytes_at, equal, file_length, number
from keras_sare.datasets.images.pixel_limit import pixel_limit

# A JPEG file may have so many scans of the most pixels that are read, and more of fewer; progressive ones have ten.
_PASSES = 16
# JPEG: markers that begin a frame, which hold its size, those that end the header, and those without a length.
_FRAME = [code for code in range(0xC0, 0xD0) if code not in (0xC4, 0xC8, 0xCC)]
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = 0xD9
_FILL = 0xFF
_LAST = (*_FRAME, _START_OF_SCAN, _END_OF_IMAGE)
_ALONE = (0x00, 0x01, *range(0xD0, 0xD9))
_IS_FRAME = np.array([int(code in _FRAME) for code in range(256)])
_MARKER_BYTES = np.array([0 if code in _LAST else 1 if code == _FILL else 2 for code in range(256)])
_HAS_LENGTH = np.array([int(code not in (*_LAST, *_ALONE, _FILL)) for code in range(256)])
# Bytes of a segment from its marker's second on: code, length, a byte, and of a frame height and width.
_FIELDS = [[1, 2, 3, 4, 5, 6, 7, 8]]
_MOST_MARKERS = 2**18  # Of 256 bytes in a header about one may be a marker.
_DOUBLINGS = 12  # 4096 segments; files have some tens.
# GIF: records, and sub-blocks that are skipped at a time where they are full: 255 bytes after one that says so.
_IMAGE = 0x2C
_EXTENSION = 0x21
_BLOCKS = 64
_BLOCK = 256
_MOST_STEPS = 4096


def is_webp(contents: Any) -> Any:
    """Whether a file, string scalar, begins as a WebP file does."""
    head = bytes_at(contents, 0, 12)
    return equal(head[:4], b"RIFF") & equal(head[8:], b"WEBP")


def why_refused(contents: Any, max_pixels: int | None = None) -> Any:
    """Returns why a file must not be decoded, from its header alone.

    Args:
        contents: string scalar, the bytes of a file.
        max_pixels: the most pixels (height times width) of an image; by default what `set_max_pixels` set.

    Returns:
        string scalar, empty where nothing in the header speaks against decoding.
    """
    most = pixel_limit(max_pixels)
    if tf.executing_eagerly():
        return _judge(contents, most)

    def judge() -> Any:
        # In a dataset: operations of a branch that is not taken would cost nearly as much as those of one that is.
        one = tf.data.Dataset.from_tensors(contents)
        return one.map(tf.autograph.experimental.do_not_convert(lambda file: _judge(file, most))).get_single_element()

    return tf.cond(_is_plain_jpeg(contents, most), lambda: tf.constant(""), judge)


def _is_plain_jpeg(contents: Any, max_pixels: int) -> Any:
    """Whether a file is a JPEG in which nothing that may be a frame is too large, be it that of a thumbnail.

    Nearly all photos are, and this takes a tenth of the time that going from segment to segment takes.
    """
    file = tf.io.decode_raw(contents, tf.uint8)
    markers = tf.where(file[:-9] == _FILL)
    fields = tf.cast(tf.gather(file, markers + _FIELDS), tf.int64)
    code = fields[:, 0]
    size = fields[:, 4:]
    pixels = (256 * size[:, 0] + size[:, 1]) * (256 * size[:, 2] + size[:, 3]) * tf.gather(_IS_FRAME, code)
    largest = tf.reduce_max(pixels)
    scans = _scans(fields)
    jpeg = tf.strings.substr(contents, 0, 3) == b"\xff\xd8\xff"
    return jpeg & (largest > 0) & (largest <= max_pixels) & (largest * scans <= _PASSES * max_pixels)


@tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int64)], autograph=False)
def _judge(contents: Any, max_pixels: Any) -> Any:
    head = bytes_at(contents, 0, 30)
    formats = [
        (equal(head[:3], b"\xff\xd8\xff"), _jpeg),
        (equal(head[:3], b"\x89PN"), lambda _: _png(head)),
        (equal(head[:3], b"GIF"), _gif),
        (is_webp(contents), lambda _: _webp(head)),
    ]
    declared = [tf.where(known, read(tf.where(known, contents, "")), 0) for known, read in formats]
    height, width, frames, scans = tf.unstack(tf.add_n(declared))
    pixels = height * width
    reasons = [
        (file_length(contents) == 0, "empty"),
        (~tf.reduce_any([known for known, _ in formats]), "not a JPEG, PNG, GIF or WebP image"),
        (pixels * frames == 0, "truncated or damaged"),
        (frames > 1, "an animation"),
        (
            pixels > max_pixels,
            _say("too large: declares # x # pixels, at most # are read (max_pixels)", width, height, max_pixels),
        ),
        (pixels * scans > _PASSES * max_pixels, _say("too many scans: # of # x # pixels", scans, width, height)),
    ]
    reason = tf.constant("")
    for applies, text in reversed(reasons):
        reason = tf.where(applies, text, reason)
    return reason


def _say(text: str, *numbers: Any) -> Any:
    parts = text.split("#")
    given = [tf.strings.as_string(one) for one in numbers]
    return tf.strings.join([parts[0], *(part for pair in zip(given, parts[1:], strict=True) for part in pair)])


def _jpeg(contents: Any) -> Any:
    """The size in the first header of a frame: the decoder refuses a file with a second one.

    As libjpeg does it goes from marker to marker, and skips bytes between segments. All bytes that may be a marker know
    where they lead to; following all of them twice as far each time needs few operations.
    """
    file = tf.io.decode_raw(contents, tf.uint8)
    markers = tf.where(file[:-9] == _FILL)[:, 0]
    fields = tf.cast(tf.gather(file, markers[:, None] + _FIELDS), tf.int64)
    scans = _scans(fields)
    markers = markers[:_MOST_MARKERS]
    fields = fields[:_MOST_MARKERS]
    code = fields[:, 0]
    length = tf.maximum(number(fields[:, 1:3], False), 2)
    ahead = tf.gather(_MARKER_BYTES, code) + tf.gather(_HAS_LENGTH, code) * length
    following = tf.concat([tf.searchsorted(markers, markers + ahead), [tf.size(markers)]], 0)
    for _ in range(_DOUBLINGS):
        following = tf.gather(following, following)
    # The first marker is the start of the image; past the last one lies the end of the file.
    found = tf.concat([fields, tf.zeros([1, 8], tf.int64)], 0)[following[0]]
    size = tf.where(tf.reduce_any(found[0] == _FRAME), found[4:], 0)
    return tf.stack([number(size[:2], False), number(size[2:], False), 1, scans])


def _scans(fields: Any) -> Any:
    """Counts the markers that begin a scan of one to four components, as their lengths say too: other bytes do not."""
    components = fields[:, 3]
    begins = (fields[:, 0] == _START_OF_SCAN) & (256 * fields[:, 1] + fields[:, 2] == 6 + 2 * components)
    return tf.math.count_nonzero(begins & (components >= 1) & (components <= 4))


def _png(head: Any) -> Any:
    """The size in the chunk IHDR, which must be the first. Of an animation the still image is decoded."""
    size = tf.where(equal(head[:16], b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), head[16:24], 0)
    return tf.stack([number(size[4:], False), number(size[:4], False), 1, 1])


def _webp(head: Any) -> Any:
    """The size in the first chunk: the decoder refuses an image that does not fill its canvas."""
    bits = number(head[21:25], True)
    sizes = {
        b"VP8 ": (number(head[28:], True) % 2**14, number(head[26:28], True) % 2**14),
        b"VP8L": (bits // 2**14 % 2**14 + 1, bits % 2**14 + 1),
        b"VP8X": (number(head[27:], True) + 1, number(head[24:27], True) + 1),
    }
    size = tf.zeros(2, tf.int64)
    for kind, declared in sizes.items():
        size = tf.where(equal(head[12:16], kind), tf.stack(declared), size)
    animated = equal(head[12:16], b"VP8X") & (head[20] // 2 % 2 == 1)
    return tf.stack([size[0], size[1], 1 + tf.cast(animated, tf.int64), 1])


def _gif(contents: Any) -> Any:
    """The size of the first frame, which may be larger than the screen: the decoder decodes all frames.

    It walks on to a second one, which makes the file an animation, or to the end.
    """
    length = file_length(contents)
    zero = tf.zeros([], tf.int64)
    position, _, first, frames = tf.while_loop(
        lambda position, inside, first, frames: (frames < 2) & (position < length),
        lambda *state: _gif_step(contents, *state),
        (13 + _colours(bytes_at(contents, 10, 1)[0]), tf.constant(False), zero, zero),
        maximum_iterations=_MOST_STEPS,
    )
    # Of a file with more records than steps it stays unknown whether another frame comes.
    known = (frames == 2) | (position >= length)
    size = tf.where(known, bytes_at(contents, first + 5, 4), 0)
    return tf.stack([number(size[2:], True), number(size[:2], True), frames, 1])


def _gif_step(contents: Any, position: Any, inside: Any, first: Any, frames: Any) -> tuple[Any, Any, Any, Any]:
    """Skips some sub-blocks where the position is `inside` of them, else steps into a record: an image or another."""
    window = tf.reshape(bytes_at(contents, position, _BLOCKS * _BLOCK), [_BLOCKS, _BLOCK])
    sizes = window[:, 0]
    head = window[0]
    full = tf.reduce_sum(tf.math.cumprod(tf.cast(sizes == _BLOCK - 1, tf.int64)))
    last = sizes[tf.minimum(full, _BLOCKS - 1)]
    ended = full < _BLOCKS
    after = position + full * _BLOCK + tf.where(ended, last + 1, 0)
    image = ~inside & (head[0] == _IMAGE)
    # An image has 10 bytes, its colours and a further byte before its sub-blocks, an extension 2 bytes.
    blocks = tf.where(image, position + 11 + _colours(head[9]), position + 2)
    known = image | (head[0] == _EXTENSION)
    return (
        tf.where(inside, after, tf.where(known, blocks, file_length(contents))),
        tf.where(inside, ~ended | (last > 0), known),
        tf.where(image & (frames == 0), position, first),
        frames + tf.cast(image, tf.int64),
    )


def _colours(flags: Any) -> Any:
    """Bytes of a GIF file's table of colours, where `flags` say that there is one."""
    return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), 0)
