"""How many pixels a file may declare: decoders allocate what a header asks for, and 34 bytes can ask for a gigabyte."""

from keras_sare.utils.arguments import plain_arguments

MAX_PIXELS = 128_000_000
"""Pixels (height times width) that an image may have by default: a photo of 108 megapixels is read."""

_MOST_PIXELS = 2**29 - 1  # TensorFlow's decoders refuse more.
_limit = MAX_PIXELS


@plain_arguments
def set_max_pixels(max_pixels: int | None) -> None:
    """Sets how many pixels the files that this process reads may have where a call says nothing else.

    It is a setting of the process, as `PIL.Image.MAX_IMAGE_PIXELS` is: how large one's own photos are does not differ
    from call to call. Exported models have a limit of their own, see `export.converters.saved_model`.

    Args:
        max_pixels: the most pixels, height times width; None for `MAX_PIXELS`.

    Raises:
        ValueError: it is not positive, or more than TensorFlow decodes.
    """
    global _limit
    _limit = MAX_PIXELS if max_pixels is None else pixel_limit(max_pixels)


def pixel_limit(max_pixels: int | None = None) -> int:
    """Returns the most pixels of a file: those that a call asks for, or what `set_max_pixels` set.

    Raises:
        ValueError: they are not positive, or more than TensorFlow decodes.
    """
    if max_pixels is None:
        return _limit
    check_max_pixels(max_pixels)
    return max_pixels


def check_max_pixels(max_pixels: int) -> None:
    """Raises ValueError where a limit on pixels is not positive, or more than TensorFlow decodes."""
    if not 1 <= max_pixels <= _MOST_PIXELS:
        raise ValueError(
            f"`max_pixels` must be at least 1, and at most {_MOST_PIXELS}, which TensorFlow can decode. "
            f"Received: max_pixels={max_pixels}"
        )
