"""DINOv2 from keras-hub, an optional extra, as a layer."""

from typing import Any

import keras
from keras import ops

PATCH = 14
SIDE = 37
"""Of the square of positions that the position embeddings were trained for."""
IMAGE = (SIDE * PATCH, SIDE * PATCH, 3)


@keras.saving.register_keras_serializable(package="keras_sare")
class DINOv2(keras.layers.Layer):
    """A vision transformer trained without labels, for images of any size.

    keras-hub's own model takes square images of one size. Here its layers are used with position embeddings that are
    resized for every image, as the authors' code does. At most 13 rows at the bottom and 13 columns at the
    right are left out where an image is not a multiple of the 14 pixels of a patch: nothing is resampled or distorted.

    Reference: Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", TMLR 2024; used for place
    recognition in Izquierdo, Civera, "Optimal Transport Aggregation for Visual Place Recognition", CVPR 2024.

    Args:
        blocks: number of transformer blocks.
        channels: of the tokens.
        heads: of the attention, a divisor of `channels`.
        **kwargs: of `keras.layers.Layer`.

    Input shape: prepared images `[batch, height, width, 3]`, height and width from 14 up.

    Output shape: feature maps `[batch, height // 14, width // 14, channels]` and class tokens `[batch, channels]`, both
    after the last layer normalisation.

    Raises:
        ImportError: keras-hub is not installed.
    """

    def __init__(self, blocks: int = 12, channels: int = 768, heads: int = 12, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.blocks = blocks
        self.channels = channels
        self.heads = heads
        self.transformer = import_keras_hub().models.DINOV2Backbone(
            patch_size=PATCH,
            num_layers=blocks,
            hidden_dim=channels,
            num_heads=heads,
            intermediate_dim=4 * channels,
            image_shape=IMAGE,
            position_embedding_shape=IMAGE,
            dtype=self.dtype_policy,
        )

    def call(self, inputs: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        rows, columns = (size // PATCH for size in ops.shape(inputs)[1:3])
        embeddings = self.transformer.embeddings
        # keras-hub resizes these once, for its one image size, which here is the size they were trained at.
        positions = ops.cast(embeddings.interpolated_position_embeddings, "float32")
        grid = ops.reshape(positions[:, 1:], (SIDE, SIDE, self.channels))
        grid = resize_positions(grid, rows, columns)
        patches = embeddings.patch_embeddings(inputs)
        patches = patches + ops.cast(ops.reshape(grid, (1, -1, self.channels)), patches.dtype)
        token = ops.cast(embeddings.cls_token + positions[:, :1], patches.dtype)
        tokens = ops.concatenate([ops.repeat(token, ops.shape(patches)[0], axis=0), patches], axis=1)
        tokens = self.transformer.layernorm(self.transformer.encoder(tokens)[0])
        return ops.reshape(tokens[:, 1:], (-1, rows, columns, self.channels)), tokens[:, 0]

    def save_own_variables(self, store: Any) -> None:
        # keras-hub stores the first of the two and tells by the sign of a sum whether the second has been trained.
        embeddings = self.transformer.embeddings
        embeddings.position_embeddings.assign(embeddings.interpolated_position_embeddings)
        super().save_own_variables(store)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "blocks": self.blocks, "channels": self.channels, "heads": self.heads}


def resize_positions(grid: keras.KerasTensor, rows: Any, columns: Any) -> keras.KerasTensor:
    """Resizes position embeddings by cubic convolution, as the authors' code does with PyTorch.

    Positions are spread by the factor (size + 0.1) / side rather than size / side: the authors added the tenth against
    rounding errors, and the weights of their users are trained with it.

    Args:
        grid: [side, side, channels] float32.
        rows: of the result; like `columns` known only in the graph where the image's size is.
        columns: likewise.

    Returns:
        [rows, columns, channels]; `grid` itself where it has this size already.
    """
    side = grid.shape[0]
    same = ops.logical_and(ops.equal(rows, side), ops.equal(columns, side))
    offset = ops.where(same, 0.0, 0.1)
    grid = ops.einsum("rh,hwc->rwc", _cubic_weights(side, rows, offset), grid)
    return ops.einsum("sw,rwc->rsc", _cubic_weights(side, columns, offset), grid)


def _cubic_weights(length: int, size: Any, offset: keras.KerasTensor) -> keras.KerasTensor:
    """Weights [size, length] of Keys' cubic convolution with a = -0.75; beyond the border the border continues."""
    a = -0.75
    centres = (ops.arange(size, dtype="float32") + 0.5) * length / (ops.cast(size, "float32") + offset) - 0.5
    first = ops.floor(centres) - 1
    weights = 0.0
    for tap in range(4):
        distance = ops.abs(centres - first - tap)
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        place = ops.cast(ops.clip(first + tap, 0, length - 1), "int32")
        weights += ops.expand_dims(ops.where(distance <= 1, near, far), 1) * ops.one_hot(place, length)
    return weights


def import_keras_hub() -> Any:
    """Returns the module keras_hub.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise ImportError("DINOv2 comes from keras-hub: pip install 'keras-sare[dinov2]'") from error
    return keras_hub
