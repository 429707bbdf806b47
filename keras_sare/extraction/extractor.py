"""Descriptors of many inputs, batch by batch."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sare.distribution.workers import Workers
from keras_sare.extraction.inference import Inference
from keras_sare.extraction.inputs import Inputs
from keras_sare.extraction.split_model import SplitModel
from keras_sare.models.least_side import MOST_LEAST_SIDE, least_side
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.progress import progress


class DescriptionError(ValueError):
    """A model gives no descriptor of some images.

    Args:
        message: why, with the numbers of the images.
        indices: int64 [n], those numbers.
    """

    def __init__(self, message: str, indices: np.ndarray) -> None:
        super().__init__(message)
        self.indices = indices


class Extractor:
    """Computes what a model gives for many inputs. Keep one for a model: its graph is traced once.

    `extract` shards the images over the workers of a strategy, and every worker gets all outputs. Each worker splits
    its batches over its replicas. There a batch has another size on the device, for which a library may choose another
    order of summation: descriptors of unit length differ by some 1e-7. Called with batches, an extractor computes them
    in this process alone.

    Args:
        model: any model with one input and one output.
        strategy: of the run; by default the current one, usually one device.
    """

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy | None = None) -> None:
        strategy = strategy or tf.distribute.get_strategy()
        self.workers = Workers(strategy)
        self.output_shape = tuple(model.output.shape[1:])
        self._network = _network(model)
        replicas = self.workers.local_replicas
        forward = model if replicas == 1 else SplitModel(model, strategy, replicas)
        self._forward = Inference(forward, self._network)

    def extract(
        self, inputs: Inputs, ids: np.ndarray, batch_size: int, out: np.ndarray | None = None, description: str = ""
    ) -> np.ndarray:
        """Computes the outputs of some images. With several workers, all must make this call.

        Args:
            inputs: what the model is fed, by image id.
            ids: int64 [n] images.
            batch_size: images in a worker's batch.
            out: array [n, *output] to fill, for example a `np.memmap` for results larger than memory. By default a new
                float32 array.
            description: text of the progress bar.

        Returns:
            `out`, in the order of `ids`, on every worker.

        Raises:
            WorkerLostError: another worker stopped.
            DescriptionError: as of `__call__`.
        """
        if out is None:
            out = np.empty((len(ids), *self.output_shape), np.float32)
        own = self.workers.shard(len(ids))
        if len(own):
            self(inputs.batches(ids[own], batch_size), len(own), out[own[0] : own[-1] + 1], description)
        self.workers.all_gather_into(out)
        return out

    @plain_arguments
    def __call__(
        self,
        batches: Iterable[tuple[Any, Any]],
        count: int,
        out: np.ndarray | None = None,
        description: str = "descriptors",
    ) -> np.ndarray:
        """Computes the outputs and puts them in the order of the indices.

        Args:
            batches: (indices int64 [batch], inputs [batch, ...]), as `keras_sare.datasets.image_batches` yields them.
                Batches may come in any order and shape.
            count: number of inputs.
            out: array [count, *output] to fill, for example a `np.memmap` for results larger than memory. By default a
                new float32 array.
            description: text of the progress bar.

        Returns:
            `out`.

        Raises:
            ValueError: some index was missing from `batches`.
            DescriptionError: an image is smaller than the model takes, or its output is not finite or, where it is a
                vector, is all zeros.
        """
        seen = np.zeros(count, bool)
        for indices, inputs in progress(batches, description, count, "image", size=lambda batch: len(batch[0])):
            outputs = self.describe(indices, inputs)
            if out is None:
                out = np.empty((count, *outputs.shape[1:]), "float32")
            rows = np.asarray(indices)
            out[rows] = outputs
            seen[rows] = True
        if out is None or not seen.all():
            raise ValueError(f"`batches` must hold all of {count} indices. Received: {int(seen.sum())} of them")
        return out

    def describe(self, indices: Any, inputs: Any) -> np.ndarray:
        """Computes the outputs of one batch, float32 [batch, *output].

        Args:
            indices: int64 [batch], numbers of the images for errors.
            inputs: [batch, ...].

        Raises:
            DescriptionError: as of `__call__`.
        """
        self._check_size(indices, inputs)
        outputs: np.ndarray = self._forward(inputs).numpy()
        check_outputs(indices, outputs)
        return outputs

    def _check_size(self, indices: Any, inputs: Any) -> None:
        shape: tuple[int, ...] = tuple(getattr(inputs, "shape", ()))
        if len(shape) != 4 or min(shape[1:3]) >= MOST_LEAST_SIDE or self._network is None:
            return
        least = self._least_side
        if min(shape[1:3]) < least:
            raise DescriptionError(
                f"`batches` must hold images of at least {least} pixels on each side for {self._network.name!r}; leave "
                f"out the others. Received: image {int(indices[0])} of {shape[2]} x {shape[1]} pixels",
                np.asarray(indices),
            )

    @cached_property
    def _least_side(self) -> int:
        return least_side(self._network)


def _network(model: Any) -> keras.Model | None:
    """The model of images inside what is called like one, such as `MultiScale`; None where there is none."""
    while not isinstance(model, keras.Model):
        model = getattr(model, "model", None)
        if model is None:
            return None
    return model if len(getattr(model, "inputs", None) or ()) == 1 else None


def check_outputs(indices: Any, outputs: np.ndarray) -> None:
    """Checks that outputs are finite, and vectors not all zeros.

    Args:
        indices: int64 [batch], numbers of the images.
        outputs: [batch, ...].

    Raises:
        DescriptionError: some are not; it has their numbers.
    """
    values = outputs.reshape(len(outputs), -1)
    good = np.isfinite(values).all(axis=1)
    if outputs.ndim == 2:
        good &= values.any(axis=1)
    if not good.all():
        bad = np.asarray(indices)[~good]
        raise DescriptionError(
            "The model must give finite outputs, and vectors not all zeros: check its weights and these images. "
            f"Received: {len(bad)} other outputs, of images {bad[:10].tolist()}",
            bad,
        )
