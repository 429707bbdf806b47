"""R-MAC: regional maximum activations of convolutions."""

import functools
import operator
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sare.layers.normalize import at_least, l2_normalize
from keras_sare.layers.pooling import GlobalPooling
from keras_sare.layers.whitening import Whitening
from keras_sare.utils.arguments import plain_arguments

MAX_EXTRA_REGIONS = 6


@plain_arguments
def region_grid(height: int, width: int, levels: int = 3) -> list[tuple[int, int, int, int]]:
    """Returns the square regions that R-MAC pools: 20 for a 30x40 map, 14 for a square one.

    At level l the side is floor(2 min(height, width) / (l + 1)), with l regions along the shorter side. The longer side
    has up to six more, as many as bring the overlap of its largest regions nearest to 40 % (the fewest of equally
    good). Everything is computed in whole numbers, so neither that choice nor a region's place hangs on rounding.

    Args:
        height: of the feature map, in positions.
        width: likewise.
        levels: number of scales.

    Returns:
        (y, x, height, width) of every region, level by level and row by row.
    """
    regions: list[tuple[int, int, int, int]] = []
    for level in range(1, levels + 1):
        side, rows, columns = _windows(height, width, level, np)
        regions += [(int(y), int(x), int(side), int(side)) for y in rows for x in columns]
    return regions


def _windows(height: Any, width: Any, level: int, xp: ModuleType) -> tuple[Any, Any, Any]:
    """Returns side, first rows and first columns of a level's regions. `xp` is numpy, or keras.ops for tensors."""
    shorter = xp.minimum(height, width)
    difference = xp.abs(height - width)
    more = np.arange(1, MAX_EXTRA_REGIONS + 1)
    # |1 - difference / (more * shorter) - 0.4|, times 60 * shorter; 60 is a multiple of every `more`.
    extra = 1 + xp.argmin(xp.abs(36 * shorter - 60 // more * difference))
    side = 2 * shorter // (level + 1)

    def starts(length: Any, other: Any) -> Any:
        count = xp.where(side > 0, level + xp.where(length > other, extra, 0), 0)
        return xp.arange(count) * (length - side) // xp.maximum(count - 1, 1)

    return side, starts(height, width), starts(width, height)


@keras.saving.register_keras_serializable(package="keras_sare")
class RMAC(GlobalPooling):
    """Sum of the L2-normalised maxima of square regions at several scales, L2-normalised.

    Every region of `region_grid` gives the maximum of each channel, which is L2-normalised; the regions' vectors are
    summed and the sum is normalised. With `whitening_dim` each region's vector is whitened and normalised again before
    the sum, as in the paper: fit the whitening on `region_vectors` of training images and give it to `set_projection`.
    To whiten the sum instead, as later work does, put a `Whitening` layer after this one.

    Reference: Tolias, Sicre, Jegou, "Particular object retrieval with integral max-pooling of CNN activations",
    ICLR 2016, section 3.2.

    Args:
        levels: number of scales.
        whitening_dim: output dimension of the whitening of each region; None for no whitening.
        include_global: whether the whole map counts as a region too, as in cirtorch.
        **kwargs: of `keras_sare.layers.pooling.GlobalPooling` and `keras.layers.Layer`.

    Input shape: `[batch, height, width, channels]`, any floating dtype. Maxima are taken of activations after the ReLU.

    Output shape: `[batch, channels]` or `[batch, whitening_dim]`, float32 (float64 for a float64 policy or input), each
    row of norm 1.

    Example:

    >>> descriptor = RMAC(levels=3)(features)
    """

    @plain_arguments
    def __init__(
        self, levels: int = 3, whitening_dim: int | None = None, include_global: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if levels < 1:
            raise ValueError(f"`levels` must be at least 1. Received: levels={levels}")
        self.levels = levels
        self.whitening_dim = whitening_dim
        self.include_global = include_global
        self.whitening = None if whitening_dim is None else Whitening(whitening_dim, dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        if self.whitening is not None:
            self.whitening.build((None, input_shape[-1]))

    def pool(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        vectors = self.region_vectors(at_least(inputs, self.precision))
        if self.whitening is not None:
            batch, regions, channels = ops.shape(vectors)
            vectors = self.whitening(ops.reshape(vectors, (-1, channels)))
            vectors = ops.reshape(vectors, (batch, regions, self.whitening_dim))
        return ops.sum(vectors, axis=1)

    def descriptor_length(self, channels: int) -> int:
        return self.whitening_dim or channels

    def region_vectors(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Computes the L2-normalised vector of every region, before whitening.

        Args:
            inputs: [batch, height, width, channels] feature maps.

        Returns:
            [batch, regions, channels] in the order of `region_grid`; the whole map comes last where it counts.
        """
        batch, height, width, channels = ops.shape(inputs)
        # A graph for images of any size knows height and width only when it runs.
        xp = np if isinstance(height, int) and isinstance(width, int) else ops
        windows = [_windows(height, width, level, xp) for level in range(1, self.levels + 1)]
        # Finer than the map. A graph takes the maxima of no regions instead, which eager code refuses.
        windows = [window for window in windows if xp is ops or window[0] > 0]
        rows = _segments([(side, first) for side, first, _ in windows], height, xp)
        columns = _segments([(side, first) for side, _, first in windows], width, xp)
        cells = _segment_maxima(_segment_maxima(inputs, rows, xp, axis=1), columns, xp, axis=2)
        maxima = []
        for side, first_rows, first_columns in windows:
            regions = _window_maxima(cells, rows, first_rows, side, xp, axis=1)
            regions = _window_maxima(regions, columns, first_columns, side, xp, axis=2)
            _, down, across, _ = ops.shape(regions)
            maxima.append(ops.reshape(regions, (batch, down * across, channels)))
        if self.include_global:
            maxima.append(ops.expand_dims(ops.max(inputs, axis=(1, 2)), 1))
        return l2_normalize(ops.concatenate(maxima, axis=1))

    @plain_arguments
    def set_projection(self, projection: np.ndarray, bias: np.ndarray, mean: np.ndarray | None = None) -> None:
        """Sets the whitening of the regions: the first `whitening_dim` columns of a fitted one.

        Args:
            projection: [channels, at least whitening_dim], columns by falling eigenvalue.
            bias: [at least whitening_dim], minus the projected mean.
            mean: [channels], the mean of the regions' vectors, where it is known; see `Whitening`.

        Raises:
            ValueError: the layer has no whitening or is not built, or the arrays do not fit.
        """
        if self.whitening is None:
            raise ValueError("`RMAC.set_projection` needs a layer with a `whitening_dim`. Received: whitening_dim=None")
        self.whitening.set_projection(projection, bias, mean)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "levels": self.levels,
            "whitening_dim": self.whitening_dim,
            "include_global": self.include_global,
        }


def _segments(windows: list[tuple[Any, Any]], length: Any, xp: ModuleType) -> Any:
    """Cuts `length` positions wherever one of the windows, (side, starts), starts or ends: [length] segment numbers.

    So every window is a run of whole segments, and the map is read once however many windows share a position.
    """
    cuts = xp.concatenate([bound for side, starts in windows for bound in (starts, starts + side)])
    starts_here = xp.any(xp.expand_dims(xp.arange(length), 1) == cuts, axis=1)
    return xp.cumsum(xp.where(starts_here, 1, 0)) - 1  # A window starts at the first position.


def _segment_maxima(x: keras.KerasTensor, segments: Any, xp: ModuleType, axis: int) -> keras.KerasTensor:
    if xp is np:
        cuts = (np.flatnonzero(np.diff(segments)) + 1).tolist()
        parts = ops.split(x, cuts, axis=axis) if cuts else [x]
        return ops.stack([ops.max(part, axis=axis) for part in parts], axis=axis)
    before = ops.shape(x)[:axis]
    length, *after = ops.shape(x)[axis:]
    count = segments[-1] + 1
    repeats = functools.reduce(operator.mul, before)
    numbers = ops.reshape(ops.expand_dims(ops.arange(repeats) * count, 1) + segments, (-1,))
    maxima = ops.segment_max(ops.reshape(x, (repeats * length, *after)), numbers, repeats * count)
    return ops.reshape(maxima, (*before, count, *after))


def _window_maxima(
    cells: keras.KerasTensor, segments: Any, starts: Any, side: Any, xp: ModuleType, axis: int
) -> keras.KerasTensor:
    """Maxima along `axis` over the segments of the windows; the last segment stands in where a window has fewer."""
    first = xp.take(segments, starts)
    last = xp.take(segments, starts + side - 1)
    positions = xp.expand_dims(first, 1) + xp.arange(xp.max(last - first, initial=0) + 1)
    return ops.max(ops.take(cells, xp.minimum(positions, xp.expand_dims(last, 1)), axis=axis), axis=axis + 1)
