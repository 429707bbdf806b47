"""Image files to batches of pixels with tf.data."""

import os
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_sare.utils.progress import progress

Paths = Sequence[str] | np.ndarray
Size = tuple[int, int]

# File names handed to TensorFlow at a time: one call into Python for each block instead of one for each image.
_PATHS_PER_BLOCK = 1024
# Images of unlike shapes are sorted into batches within a stretch of this many batches, which bounds the memory held.
_BATCHES_PER_STRETCH = 8


def decode_image(contents: Any, size: Size | None = None) -> Any:
    """Decodes an encoded image with TensorFlow operations alone: eagerly, in `dataset.map` or in an exported graph.

    JPEG is decoded with the accurate integer inverse cosine transform, the one that Pillow uses: with TensorFlow's
    default pixels differ by up to 7 of 255. Alpha is dropped, grey is repeated, and an orientation noted in EXIF is
    not applied.

    Args:
        contents: string scalar, the bytes of a JPEG, PNG or single-frame GIF file.
        size: (height, width) to resize to, bilinear with antialiasing; None keeps the size.

    Returns:
        float32 [height, width, 3], RGB in 0..255.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no such image, or not a whole one.
    """
    return _resize(_decode(contents), size)


def load_image(path: str | os.PathLike[str], size: Size | None = None) -> np.ndarray:
    """Reads one image file.

    Args:
        path: a JPEG, PNG or single-frame GIF file.
        size: (height, width) to resize to, bilinear with antialiasing; None keeps the size.

    Returns:
        float32 [height, width, 3], RGB in 0..255.

    Raises:
        ValueError: the file is missing or cannot be decoded.
    """
    path = os.fspath(path)
    try:
        with tf.device("CPU:0"):
            return decode_image(tf.io.read_file(path), size).numpy()
    except tf.errors.OpError as error:
        raise ValueError(_cannot_read(path)) from error


def image_batches(paths: Paths, size: Size | None, batch_size: int) -> Any:
    """Makes a `tf.data.Dataset` that reads, decodes, resizes and batches image files in parallel.

    Every run gives the same batches in the same order. With a `size` the images keep the order of `paths`. Without,
    images of one shape are batched together, within stretches of eight batches: so at most eight batches of decoded
    images wait for their like, and the order changes within a stretch only.

    An image that cannot be read stops the iteration with `tf.errors.InvalidArgumentError`, which names the file and the
    reason; run `find_corrupt` first to leave such files out.

    Args:
        paths: [N] files, JPEG, PNG or single-frame GIF.
        size: (height, width) to resize to, bilinear with antialiasing; None keeps each image's own.
        batch_size: images in a batch; the last one of a shape may be smaller.

    Returns:
        A dataset of (indices int64 [b] into `paths`, images float32 [b, height, width, 3], RGB in 0..255).

    Raises:
        ValueError: `batch_size` or `size` is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: batch_size={batch_size}")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ValueError(f"`size` must be (height, width) in pixels, or None. Received: size={size}")
    paths = _as_strings(paths)
    # Without a size the pixels wait for their batch as bytes: a quarter of the memory.
    decode = _decode if size is None else lambda contents: decode_image(contents, size)
    images = _show_gaps(_read(paths, decode), len(paths))
    batches = _batch_by_shape(images, batch_size, paths) if size is None else _batch_in_order(images, batch_size, paths)
    return batches.prefetch(2)


def find_corrupt(paths: Paths) -> dict[int, str]:
    """Reads and decodes every file, in parallel, and tells which fail.

    Args:
        paths: [N] files.

    Returns:
        The reason for each file that fails, by its index in `paths`, ascending: "missing", "empty file", "not a JPEG,
        PNG or GIF image", "truncated or damaged", or the message of the operating system.
    """
    paths = _as_strings(paths)
    decoded = np.zeros(len(paths), bool)
    batches = _read(paths, lambda contents: tf.size(_decode(contents))).ignore_errors().batch(256)
    indices = chain.from_iterable(indices for indices, _ in batches.as_numpy_iterator())
    for index in progress(indices, "Checking images", len(paths), "image"):
        decoded[index] = True
    reasons = {int(index): _reason(str(paths[index])) for index in np.flatnonzero(~decoded)}
    return {index: reason for index, reason in reasons.items() if reason is not None}


def _decode(contents: Any) -> Any:
    # A WebP file comes out of this operation with four dimensions; the shape check turns that into an error.
    return tf.ensure_shape(tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE"), [None, None, 3])


def _resize(image: Any, size: Size | None) -> Any:
    if size is None:
        return tf.cast(image, tf.float32)
    return tf.image.resize(image, size, method="bilinear", antialias=True)


def _as_strings(paths: Paths) -> np.ndarray:
    return np.asarray(paths, dtype=np.dtypes.StringDType())


def _read(paths: np.ndarray, decode: Callable[[Any], Any]) -> Any:
    def block(start: np.int64) -> np.ndarray:
        return paths[start : start + _PATHS_PER_BLOCK].astype(object)

    starts = tf.data.Dataset.range(0, len(paths), _PATHS_PER_BLOCK)
    names = starts.map(lambda start: tf.ensure_shape(tf.numpy_function(block, [start], tf.string), [None])).unbatch()
    return names.enumerate().map(
        lambda index, name: (index, decode(tf.io.read_file(name))),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


def _show_gaps(images: Any, count: int) -> Any:
    """Drops the elements that fail to decode, and adds the position each element would have if none did.

    From a dropped element on, the index runs ahead of the position; an element more at the end shows a gap there.

    Returns:
        A dataset of (position, (index, pixels)).
    """
    _, spec = images.element_spec
    end = (tf.constant(count, tf.int64), tf.zeros([side or 0 for side in spec.shape], spec.dtype))
    whole = images.ignore_errors().concatenate(tf.data.Dataset.from_tensors(end))
    return whole.enumerate().take(count)


def _verify(positions: Any, indices: Any, paths: np.ndarray) -> Any:
    """Returns `indices` where no element was dropped before; else raises an error that names the file.

    A decoder's own error names no file. Looking for the gap costs nothing, where catching each error would.
    """

    def fail(position: np.int64) -> np.ndarray:
        raise ValueError(_cannot_read(str(paths[position])))

    ahead = tf.reshape(indices != positions, [-1])
    first = tf.reshape(positions, [-1])[tf.argmax(ahead)]
    verified = tf.cond(tf.reduce_any(ahead), lambda: tf.numpy_function(fail, [first], tf.int64), lambda: indices)
    return tf.ensure_shape(verified, indices.shape)


def _batch_in_order(images: Any, batch_size: int, paths: np.ndarray) -> Any:
    def verified(positions: Any, batch: tuple[Any, Any]) -> tuple[Any, Any]:
        indices, pixels = batch
        return _verify(positions, indices, paths), pixels

    return images.batch(batch_size).map(verified)


def _batch_by_shape(images: Any, batch_size: int, paths: np.ndarray) -> Any:
    def shape_key(position: Any, image: tuple[Any, Any]) -> Any:
        index, pixels = image
        with tf.control_dependencies([_verify(position, index, paths)]):
            return tf.bitcast(tf.shape(pixels)[:2], tf.int64)

    def batch_alike(_: Any, alike: Any) -> Any:
        return alike.batch(batch_size)

    def batch_stretch(positions: Any, images: tuple[Any, Any]) -> Any:
        return tf.data.Dataset.zip((positions, images)).group_by_window(shape_key, batch_alike, window_size=batch_size)

    def unpack(_: Any, batch: tuple[Any, Any]) -> tuple[Any, Any]:
        indices, pixels = batch
        return indices, tf.cast(pixels, tf.float32)

    return images.window(_BATCHES_PER_STRETCH * batch_size).flat_map(batch_stretch).map(unpack)


def _cannot_read(path: str) -> str:
    return f"Cannot read image {path}: {_reason(path) or 'reading failed once, and succeeded when tried again'}"


def _reason(path: str) -> str | None:
    """Tells why a file cannot be decoded; None when it can."""
    try:
        contents = Path(path).read_bytes()
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return error.strerror
    if not contents:
        return "empty file"
    try:
        with tf.device("CPU:0"):
            _decode(contents)
    except tf.errors.InvalidArgumentError as error:
        return "truncated or damaged" if "Invalid" in error.message else "not a JPEG, PNG or GIF image"
    return None
