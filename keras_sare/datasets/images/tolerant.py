"""Decoding where one bad image must not lose the others: TensorFlow has no `try`, so the error becomes a value."""

from typing import Any

import tensorflow as tf

from keras_sare.datasets.images.pipeline import as_written, decode_image
from keras_sare.datasets.images.pixels import Size, why_undecodable
from keras_sare.utils.arguments import plain_arguments


@plain_arguments
def decode_single(
    contents: Any,
    size: Size | int,
    orientation: str = "upright",
    antialias: bool = True,
    max_pixels: int | None = None,
) -> tuple[Any, Any]:
    """Decodes one image as `decode_image` does, or returns why it cannot: nothing is raised.

    Made for exported graphs whose images are described one at a time, because they have unlike shapes. It is made of
    TensorFlow operations alone and runs in `tf.map_fn`, in a SavedModel and in TensorFlow Serving.

    Args:
        contents: string scalar, the bytes of a file.
        size: (height, width) to resize to, the limit of the longer side, or a `ShorterSide`; see `decode_image`.
        orientation: "upright" or "stored"; see `decode_image`.
        antialias: see `decode_image`.
        max_pixels: see `decode_image`.

    Returns:
        The image, float32 [height, width, 3], RGB in 0..255, and the error, a string scalar that is empty where all is
        well: "empty", "not a JPEG, PNG, GIF or WebP image", "truncated or damaged" and the like. An image that cannot
        be decoded is all zeros where `size` is (height, width); else it has no pixels, [0, 0, 3].
    """
    sides = (0, 0) if isinstance(size, int) else size
    # An element that fails to decode is left out, and then the zeros come first. (`reduce` says the same in less, but
    # hangs in `tf.map_fn` where a session has a single thread for its operations.)
    decoded = tf.data.Dataset.from_tensors(contents).map(
        as_written(lambda one: (decode_image(one, size, None, orientation, antialias, max_pixels), True))
    )
    nothing = tf.data.Dataset.from_tensors((tf.zeros([*sides, 3]), False))
    image, whole = decoded.ignore_errors().concatenate(nothing).take(1).get_single_element()
    return image, tf.cond(whole, lambda: tf.constant(""), lambda: why_undecodable(contents, max_pixels))


@plain_arguments
def decode_batch(
    contents: Any,
    size: Size,
    orientation: str = "upright",
    antialias: bool = True,
    max_pixels: int | None = None,
) -> tuple[Any, Any]:
    """Decodes images to one shape, as `decode_image` does, in parallel; bad ones do not harm the others.

    Made for exported graphs, like `decode_single`. Outside a `tf.function` it works too, but slowly: each image is
    traced anew.

    Args:
        contents: string [n], the bytes of n files.
        size: (height, width) to resize to.
        orientation: "upright" or "stored"; see `decode_image`.
        antialias: see `decode_image`.
        max_pixels: see `decode_image`.

    Returns:
        The images, float32 [n, height, width, 3], RGB in 0..255, zeros where an image cannot be decoded; and the
        errors, string [n], empty where all is well: see `name_errors`.
    """
    signature = (tf.TensorSpec([*size, 3], tf.float32), tf.TensorSpec([], tf.string))
    images, errors = tf.map_fn(
        lambda one: decode_single(one, size, orientation, antialias, max_pixels),
        contents,
        fn_output_signature=signature,
    )
    return images, name_errors(errors)


def name_errors(errors: Any) -> Any:
    """Puts the index of each image before its error.

    Args:
        errors: string [n], of `decode_single`, empty where all is well.

    Returns:
        string [n], such as "image 3: truncated or damaged", and empty where `errors` is.
    """
    indices = tf.strings.as_string(tf.range(tf.size(errors)))
    return tf.where(errors == "", "", tf.strings.join(["image ", indices, ": ", errors]))


def require_all(errors: Any) -> Any:
    """Raises one error that names all bad images, where there are any.

    Args:
        errors: string [n], of `decode_batch` or `name_errors`.

    Returns:
        An operation, to be run before the images are used: `with tf.control_dependencies([require_all(errors)])`. In a
        `tf.function` it runs without that too.

    Raises:
        tf.errors.InvalidArgumentError: there are bad images; "image 0: empty; image 3: truncated or damaged".
    """
    bad = tf.boolean_mask(errors, errors != "")
    return tf.debugging.Assert(tf.equal(tf.size(bad), 0), [tf.strings.reduce_join(bad, separator="; ")])
