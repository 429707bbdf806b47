"""Image files to batches of pixels with tf.data."""

import functools
import os
import threading
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import tensorflow as tf

from keras_sare.datasets.images.orientation import (
    check_orientation,
    exif_orientation,
    orientation_of_bytes,
    swaps_sides,
    turn_upright,
)
from keras_sare.datasets.images.pixel_limit import pixel_limit
from keras_sare.datasets.images.pixels import ShorterSide, Size, decode_pixels, resize
from keras_sare.datasets.images.unreadable import cannot_read, why_unreadable
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.progress import progress

Paths = Sequence[str] | np.ndarray

# Functions of a dataset in which no `if` or loop depends on a tensor: looking for one takes longer than tracing them.
as_written = tf.autograph.experimental.do_not_convert

# File names handed to TensorFlow at a time: one call into Python for each block instead of one for each image.
_PATHS_PER_BLOCK = 1024
# Images of unlike shapes are sorted into batches within a stretch of this many batches, which bounds the memory held.
_BATCHES_PER_STRETCH = 8
# Of threads that need the same new graph at once, one makes it.
_TRACING = threading.Lock()


def as_it_is() -> tf.data.Options:
    """Options of a dataset that TensorFlow neither rewrites nor tunes.

    Rewriting finds nothing to save in the datasets here, and takes as long as decoding tens of images. Tuning was seen
    to read 68 tuples ahead where 6 are asked for; and its thread may miss that the dataset ends, which then takes as
    long again as reading it took, up to a minute.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return options


@plain_arguments
def decode_image(
    contents: Any,
    size: Size | int | None = None,
    box: Any = None,
    orientation: str = "upright",
    antialias: bool = True,
    max_pixels: int | None = None,
) -> Any:
    """Decodes an encoded image with TensorFlow operations alone: eagerly, in `dataset.map` or in an exported graph.

    JPEG is decoded with the accurate integer inverse cosine transform, the one that Pillow uses: with TensorFlow's
    default pixels differ by up to 7 of 255. Alpha is dropped, grey is repeated, 16 bits are cut to the upper eight, and
    CMYK becomes RGB as in Pillow.

    An image is turned upright, as viewers show it, where its EXIF says that it is stored otherwise, as photos of phones
    are. The methods' original programs take pixels as they are stored: `orientation="stored"` does so too, and has to
    be said to all that reads images for one model, from training to the export.

    Args:
        contents: string scalar, the bytes of a JPEG, PNG, single-frame GIF or single-frame WebP file.
        size: (height, width) to resize to, bilinear with antialiasing. A number limits the longer side: the aspect
            ratio is kept, nothing is enlarged, and the filter is Lanczos's, rounded to whole numbers, as in cirtorch's
            `imresize`; the size is `keras_sare.datasets.fitted_size`. A `ShorterSide` is the size of the shorter side,
            bilinear with antialiasing. None keeps the size.
        box: x1, y1, x2, y2, float64 [4], in pixels of the image as `orientation` says that it is read. They are
            rounded, and clipped to the image, which is cropped to columns x1 to x2 - 1 and rows y1 to y2 - 1 and then
            resized by the factor that the whole image would have got (Crop_I, as cirtorch's `ImagesFromList`). Not
            together with (height, width).
        orientation: "upright": turned and mirrored as the image's EXIF orientation asks, before `size` and `box` apply;
            "stored": as the pixels are stored.
        antialias: False resizes bilinearly without antialiasing whatever `size` is, as PyTorch's `interpolate` does
            (align_corners=False), and torchvision with tensors. What a model wants is `antialiases(model)` of
            `keras_sare.models`.
        max_pixels: the most pixels (height times width) that a file may declare; a larger one is not decoded. By
            default what `set_max_pixels` set, or `MAX_PIXELS`.

    Returns:
        float32 [height, width, 3], RGB in 0..255.

    Raises:
        ValueError: an unknown `orientation`.
        tf.errors.InvalidArgumentError: the bytes are no such image, not a whole one or one that is too large, or the
            box holds no pixel.
    """
    check_orientation(orientation)
    noted = exif_orientation(contents) if orientation == "upright" else None
    pixels = tf.cast(_pixels(decode_pixels(contents, max_pixels), size, box, noted, antialias), tf.float32)
    return pixels if size is None or isinstance(size, int) else tf.ensure_shape(pixels, [*size, 3])


@plain_arguments
def load_image(
    path: str | os.PathLike[str],
    size: Size | int | None = None,
    box: Sequence[float] | np.ndarray | None = None,
    orientation: str = "upright",
    antialias: bool = True,
    max_pixels: int | None = None,
) -> np.ndarray:
    """Reads one image file.

    Args:
        path: a JPEG, PNG, single-frame GIF or single-frame WebP file.
        size: (height, width) to resize to, the most pixels that the longer side may have, or None to keep the size;
            see `decode_image`.
        box: x1, y1, x2, y2 to crop to, in pixels of the image as it is read; see `decode_image`. Not together with
            (height, width).
        orientation: "upright" or "stored"; see `decode_image`.
        antialias: see `decode_image`.
        max_pixels: see `decode_image`.

    Returns:
        float32 [height, width, 3], RGB in 0..255.

    Raises:
        ValueError: the file is missing or cannot be decoded, the box holds no pixel of it, `size` is not positive, or
            an unknown `orientation`.
    """
    path = os.fspath(path)
    _check_size(size)
    max_pixels = pixel_limit(max_pixels)
    boxes = _checked_boxes(None if box is None else [box], [path], size)
    checked = None if boxes is None else boxes[0]
    check_orientation(orientation)
    decode = bytes_decoder(size, checked is not None, orientation, antialias, max_pixels)
    box_of_it = [] if checked is None else [tf.constant(checked, tf.float64)]
    try:
        with tf.device("CPU:0"):
            return decode(tf.io.read_file(path), *box_of_it).numpy().astype(np.float32, copy=False)
    except tf.errors.OpError as error:
        raise ValueError(cannot_read(path, checked, orientation, max_pixels)) from error


@plain_arguments
def image_batches(
    paths: Paths,
    size: Size | int | None,
    batch_size: int,
    boxes: Sequence[Sequence[float]] | np.ndarray | None = None,
    orientation: str = "upright",
    antialias: bool = True,
    max_pixels: int | None = None,
) -> Any:
    """Makes a `tf.data.Dataset` that reads, decodes, crops, resizes and batches image files in parallel.

    Every run gives the same batches in the same order. With (height, width) the images keep the order of `paths`.
    Otherwise images of one shape are batched together, within stretches of eight batches: so at most eight batches of
    decoded images wait for their like, and the order changes within a stretch only.

    An image that cannot be read stops the iteration with `tf.errors.InvalidArgumentError`, which names the file and the
    reason; run `find_corrupt` first to exclude such files.

    Args:
        paths: [N] files, JPEG, PNG, single-frame GIF or single-frame WebP.
        size: (height, width) to resize to, the most pixels that the longer side may have, or None to keep each image's
            own size; see `decode_image`.
        batch_size: images in a batch; the last one of a shape may be smaller.
        boxes: [N, 4], the box x1, y1, x2, y2 that each image is cropped to, in pixels of the image as it is read, then
            scaled as the whole image would have been; see `decode_image`. Not together with (height, width).
        orientation: "upright" or "stored"; see `decode_image`.
        antialias: see `decode_image`.
        max_pixels: see `decode_image`.

    Returns:
        A dataset of (indices int64 [b] into `paths`, images float32 [b, height, width, 3], RGB in 0..255).

    Raises:
        ValueError: `batch_size`, `size` or `max_pixels` is not positive, an unknown `orientation`, or a box is empty:
            its file is named.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: batch_size={batch_size}")
    check_orientation(orientation)
    max_pixels = pixel_limit(max_pixels)
    _check_size(size)
    paths = _as_strings(paths)
    crops = _checked_boxes(boxes, paths, size)

    decoded = bytes_decoder(size, crops is not None, orientation, antialias, max_pixels)

    def decode(index: Any, contents: Any) -> Any:
        return decoded(contents) if crops is None else decoded(contents, tf.gather(crops, index))

    def explain(index: int) -> str:
        return cannot_read(str(paths[index]), None if crops is None else crops[index], orientation, max_pixels)

    images = _show_gaps(_read(paths, decode), len(paths))
    batch = _batch_by_shape if size is None or isinstance(size, int) else _batch_in_order
    return batch(images, batch_size, explain).prefetch(2)


@plain_arguments
def find_corrupt(paths: Paths, max_pixels: int | None = None) -> dict[int, str]:
    """Reads and decodes every file in parallel, and returns those that fail.

    Args:
        paths: [N] files.
        max_pixels: see `decode_image`.

    Returns:
        The reason for each file that fails, by its index in `paths`, ascending; see `why_unreadable`.

    Raises:
        ValueError: `max_pixels` is not positive.
    """
    max_pixels = pixel_limit(max_pixels)
    paths = _as_strings(paths)
    decoded = np.zeros(len(paths), bool)
    pixels = bytes_decoder(None, False, "stored", True, max_pixels)
    batches = _read(paths, lambda _, contents: tf.size(pixels(contents))).ignore_errors().batch(256)
    indices = chain.from_iterable(indices for indices, _ in batches.as_numpy_iterator())
    for index in progress(indices, "Checking images", len(paths), "image"):
        decoded[index] = True
    reasons = {
        int(index): why_unreadable(str(paths[index]), max_pixels=max_pixels) for index in np.flatnonzero(~decoded)
    }
    return {index: reason for index, reason in reasons.items() if reason is not None}


def bytes_decoder(
    size: Size | int | None, boxed: bool, orientation: str, antialias: bool, max_pixels: int | None = None
) -> Callable[..., Any]:
    """Makes a function that decodes, turns, crops and resizes a file's bytes, in graphs and outside of them.

    Its graph is made once for all sizes and datasets: making it takes longer than many images.

    Args:
        size: as of `decode_image`.
        boxed: whether the function takes a box too.
        orientation: as of `decode_image`, and so are the others.
        antialias: see `orientation`.
        max_pixels: see `orientation`.

    Returns:
        Of the bytes, string scalar, and where `boxed` of a box, float64 [4]: [height, width, 3] in 0..255, uint8 where
        the size is limited or the file's own, so that pixels that wait for their batch take a quarter of the memory.
    """
    most = pixel_limit(max_pixels)
    if size is None or isinstance(size, int):
        return _traced(size, boxed, orientation, antialias, most)
    height, width = size
    traced = _traced("given", boxed, orientation, antialias, most)
    sides = tf.constant([height, width], tf.int32)
    return lambda contents, *box: tf.ensure_shape(traced(contents, sides, *box), [height, width, 3])


def _traced(*how: Any) -> Any:
    with _TRACING:
        return _trace(*how)


@functools.lru_cache(maxsize=64, typed=True)  # Typed: `ShorterSide(480)` equals 480.
def _trace(size: Any, boxed: bool, orientation: str, antialias: bool, max_pixels: int) -> Any:
    """The graph of `bytes_decoder`; with the size "given" that is an argument, int32 [2]."""

    def decode(contents: Any, *others: Any) -> Any:
        sides = others[0] if size == "given" else size
        box = others[-1] if boxed else None
        noted = _noted_orientation(contents) if orientation == "upright" else None
        return _pixels(decode_pixels(contents, max_pixels), sides, box, noted, antialias)

    specs = [tf.TensorSpec([], tf.string)]
    specs += [tf.TensorSpec([2], tf.int32)] * (size == "given")
    specs += [tf.TensorSpec([4], tf.float64)] * boxed
    with tf.init_scope(), tf.device("CPU:0"):
        return tf.function(decode, autograph=False).get_concrete_function(*specs)


def _noted_orientation(contents: Any) -> Any:
    """`exif_orientation` by a call into Python, which costs less than its many small operations."""
    noted = tf.numpy_function(lambda file: np.int32(orientation_of_bytes(file)), [contents], tf.int32, stateful=False)
    return tf.ensure_shape(noted, [])


def _pixels(pixels: Any, size: Any, box: Any, noted: Any, antialias: bool) -> Any:
    """`decode_image` in the type of `resize`; `noted` is the file's orientation, or None."""
    if noted is None:
        return resize(pixels, size, box, antialias)
    if size is None or isinstance(size, int):
        return resize(turn_upright(pixels, noted), size, box, antialias)
    # Turning costs more than decoding, so the few pixels that remain are turned.
    resized = resize(pixels, tf.where(swaps_sides(noted), size[::-1], size), antialias=antialias)
    return turn_upright(resized, noted)


def _check_size(size: Size | int | None) -> None:
    if isinstance(size, int) and size < 1:
        raise ValueError(f"`size` must be at least 1 pixel for the longer side. Received: size={size}")
    if not (size is None or isinstance(size, int)) and (len(size) != 2 or min(size) < 1):
        raise ValueError(f"`size` must be (height, width) in pixels, a number or None. Received: size={size}")


def _checked_boxes(boxes: Any, paths: Paths, size: Size | int | None) -> np.ndarray | None:
    if boxes is None:
        return None
    if isinstance(size, ShorterSide) or not (size is None or isinstance(size, int)):
        raise ValueError(
            f"`size` must limit the longer side, or be None, where images are cropped. Received: size={size}"
        )
    boxes = np.asarray(boxes, np.float64)
    if boxes.shape != (len(paths), 4):
        raise ValueError(
            f"`boxes` must be x1, y1, x2, y2 for each of the {len(paths)} `paths`. Received: boxes.shape={boxes.shape}"
        )
    bad = np.flatnonzero(~(np.isfinite(boxes).all(axis=1) & (boxes[:, :2] < boxes[:, 2:]).all(axis=1)))
    if len(bad):
        raise ValueError(
            f"`boxes` must have x1 < x2 and y1 < y2; {len(bad)} have not: correct or leave out those images. "
            f"Received: boxes[{bad[0]}]={boxes[bad[0]].tolist()} of {paths[bad[0]]}"
        )
    return boxes


def _as_strings(paths: Paths) -> np.ndarray:
    return np.asarray(paths, dtype=np.dtypes.StringDType())


def _read(paths: np.ndarray, decode: Callable[[Any, Any], Any]) -> Any:
    def block(start: np.int64) -> np.ndarray:
        return paths[start : start + _PATHS_PER_BLOCK].astype(object)

    starts = tf.data.Dataset.range(0, len(paths), _PATHS_PER_BLOCK)

    def name_block(start: Any) -> Any:
        return tf.ensure_shape(tf.numpy_function(block, [start], tf.string), [None])

    names = starts.map(as_written(name_block)).unbatch()
    images = names.enumerate().map(
        as_written(lambda index, name: (index, decode(index, tf.io.read_file(name)))),
        num_parallel_calls=os.cpu_count() or 1,
        deterministic=True,
    )
    return images.with_options(as_it_is())


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


def _verify(positions: Any, indices: Any, explain: Callable[[int], str]) -> Any:
    """Returns `indices` where no element was dropped before; else raises an error, what `explain` says of the index.

    A decoder's own error names no file. Looking for the gap costs nothing, where catching each error would.
    """

    def fail(position: np.int64) -> np.ndarray:
        raise ValueError(explain(int(position)))

    ahead = tf.reshape(indices != positions, [-1])
    first = tf.reshape(positions, [-1])[tf.argmax(ahead)]
    verified = tf.cond(tf.reduce_any(ahead), lambda: tf.numpy_function(fail, [first], tf.int64), lambda: indices)
    return tf.ensure_shape(verified, indices.shape)


def _batch_in_order(images: Any, batch_size: int, explain: Callable[[int], str]) -> Any:
    def verified(positions: Any, batch: tuple[Any, Any]) -> tuple[Any, Any]:
        indices, pixels = batch
        return _verify(positions, indices, explain), pixels

    return images.batch(batch_size).map(as_written(verified))


def _batch_by_shape(images: Any, batch_size: int, explain: Callable[[int], str]) -> Any:
    def shape_key(position: Any, image: tuple[Any, Any]) -> Any:
        index, pixels = image
        with tf.control_dependencies([_verify(position, index, explain)]):
            return tf.bitcast(tf.shape(pixels)[:2], tf.int64)

    def batch_alike(_: Any, alike: Any) -> Any:
        return alike.batch(batch_size)

    def batch_stretch(positions: Any, images: tuple[Any, Any]) -> Any:
        return tf.data.Dataset.zip((positions, images)).group_by_window(
            as_written(shape_key), as_written(batch_alike), window_size=batch_size
        )

    def unpack(_: Any, batch: tuple[Any, Any]) -> tuple[Any, Any]:
        indices, pixels = batch
        return indices, tf.cast(pixels, tf.float32)

    return images.window(_BATCHES_PER_STRETCH * batch_size).flat_map(as_written(batch_stretch)).map(as_written(unpack))
