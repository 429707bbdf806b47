"""Pixels that are changed at random for each step of training."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_sare.datasets import Augmentation
from keras_sare.extraction.inputs import ImageInputs


class AugmentedInputs:
    """Tuples of augmented images; what is random depends on the seed, the epoch and the tuple alone.

    So a run that is resumed in mid-epoch sees the pixels that the unbroken one would.

    Args:
        paths: [N] image files; the id of an image is its index.
        size: (height, width) that images are resized to, before they are changed.
        augmentation: what changes them.
        seed: of the run.
        orientation: "upright" or "stored"; see `keras_sare.datasets.decode_image`.
        antialias: whether images that shrink are antialiased; see `keras_sare.models.antialiases`.

    Raises:
        ValueError: `size` is no (height, width).
    """

    def __init__(
        self,
        paths: np.ndarray,
        size: tuple[int, int],
        augmentation: Augmentation,
        seed: int,
        orientation: str = "upright",
        antialias: bool = True,
    ) -> None:
        if isinstance(size, int):
            raise ValueError(
                "`size` must be (height, width): images of a limited longer side, which are of unlike sizes, are not "
                f"augmented. Received: size={size}"
            )
        self.images = ImageInputs(paths, size, orientation, antialias)
        self.augmentation = augmentation
        self.seed = seed

    def for_epoch(self, epoch: int) -> Callable[[Any], Any]:
        """Makes the function that reads the tuples of an epoch.

        An image is changed by (seed, epoch, id of the tuple's first image, slot in the tuple): an image that several
        tuples share is changed otherwise in each.

        Args:
            epoch: counted from 1.

        Returns:
            TensorFlow function for `dataset.map` from ids int64 [tuple size] to images float32 [tuple size, height,
            width, 3], RGB in 0..255. It raises `tf.errors.InvalidArgumentError` with the file's name and the reason
            where an image cannot be read.
        """

        def gather(ids: Any) -> Any:
            tuple_seed = tf.random.fold_in((self.seed, epoch), ids[0], alg="philox")
            seeds = tf.random.stateless_uniform(
                [tf.shape(ids)[0], 2], tuple_seed, minval=None, maxval=None, dtype=tf.int32, alg="philox"
            )
            spec = tf.TensorSpec((*self.images.size, 3), tf.float32)
            # Not read with TensorFlow's operations alone: their errors name no file.
            pixels = self.images.gather(ids)
            return tf.map_fn(lambda one: self.augmentation(*one), (pixels, seeds), fn_output_signature=spec)

        return gather
