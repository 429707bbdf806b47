"""Steps of training on given tuples."""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sare.extraction.bucketed_inputs import BucketedInputs
from keras_sare.losses import TupleLoss
from keras_sare.mining import tuple_dataset
from keras_sare.training.data.training_images import TrainingImages
from keras_sare.training.failures import file_names, name_unreadable
from keras_sare.training.learning_rate import set_learning_rate
from keras_sare.training.settings.training_settings import TrainingSettings
from keras_sare.training.stage_timer import StageTimer
from keras_sare.training.step import make_train_step
from keras_sare.utils.keras_internals import all_layers
from keras_sare.utils.progress import progress


class TupleTrainer:
    """Trains a model on tuples of image ids.

    Args:
        model: the part that is trained. Where it computes in float16, the loss is scaled.
        loss: loss over tuples.
        train: gives the inputs of the images, and the settings of the run.
        strategy: of the run.
        frozen: the part before `model`, for images that are not stored or are augmented.

    Attributes:
        optimizer: built on the model's trainable variables.
        step: what `make_train_step` makes.

    Raises:
        ValueError: the step is to be compiled, and images are of unlike sizes; or as `make_train_step`.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: TupleLoss,
        train: TrainingImages,
        strategy: tf.distribute.Strategy,
        frozen: keras.Model | None = None,
    ) -> None:
        self.model = model
        self.train = train
        self.settings = train.settings
        self.strategy = strategy
        settings = self.settings
        # The step would say so too, but not before the first descriptors are computed.
        if settings.mirror and isinstance(train.inputs, BucketedInputs):
            raise ValueError(
                "`mirror` must be False where images are of unlike sizes: resize all images to one (height, width). "
                f"Received: mirror=True, {len(train.inputs.parts)} sizes of {train.name!r}"
            )
        if settings.jit_compile and isinstance(train.inputs, BucketedInputs):
            raise ValueError(
                "`jit_compile` must be False where images are of unlike sizes: XLA would compile the network anew for "
                "every size and number of images. Or resize all images to one (height, width). "
                f"Received: jit_compile=True, {len(train.inputs.parts)} sizes of {train.name!r}"
            )
        with strategy.scope():
            self.optimizer = _make_optimizer(model, settings)
        self.step = make_train_step(
            strategy,
            model,
            loss,
            self.optimizer,
            settings.weight_decay if settings.optimizer == "sgd" else 0.0,  # AdamW does its own.
            frozen=frozen if train.augmented is not None or not train.stored else None,
            chunk=settings.gradient_chunk,
            jit_compile=settings.jit_compile,
            # An image that two tuples share is augmented otherwise in each.
            share=train.augmented is None,
            mirror_seed=settings.seed if settings.mirror else None,
        )

    def set_rate(self, epoch: int) -> None:
        """Sets the learning rate of an epoch; the optimizer is left as it is where it has that already."""
        rate = self.settings.learning_rate_at(epoch)
        if np.float32(rate) != np.float32(self.optimizer.learning_rate):
            set_learning_rate(self.optimizer, rate)

    def __call__(self, tuples: np.ndarray, epoch: int, times: StageTimer, first: int = 0) -> list[float]:
        """Trains one step for every `tuples_per_step` tuples.

        Args:
            tuples: int64 [n, 2 + negatives] image ids; n is a multiple of `tuples_per_step`, and not 0.
            epoch: counted from 1.
            times: is told where the time goes.
            first: steps of the epoch before these.

        Returns:
            The loss of every step.

        Raises:
            FloatingPointError: a loss is not finite, or a weight after the last step; the message names the images.
            tf.errors.InvalidArgumentError: an image cannot be read; the message names it.
        """
        losses: list[float] = []
        ahead: Any = None
        steps = len(tuples) // self.settings.tuples_per_step

        def check(finite: bool, what: str) -> None:
            if not finite:
                raise FloatingPointError(f"{what} {self._describe_step(tuples, len(losses), epoch, first)}")

        def see(loss: Any) -> None:
            losses.append(float(loss))
            check(math.isfinite(losses[-1]), f"The loss is {losses[-1]}")

        for batch in progress(self._batches(tuples, epoch, times), f"epoch {epoch}, step {first + 1}", steps, "step"):
            with times.measure("training"):
                previous = ahead
                ahead = self.step(*batch)
                # The device goes on with this step while the loss of the one before is looked at.
                if previous is not None:
                    see(previous)
        with times.measure("training"):
            see(ahead)
            weights = map(keras.ops.convert_to_numpy, self.model.trainable_variables)
            check(all(np.isfinite(weight).all() for weight in weights), "A weight is not finite after the update")
        return losses

    def _batches(self, tuples: np.ndarray, epoch: int, times: StageTimer) -> Iterator[Any]:
        per_step = self.settings.tuples_per_step
        augmented = self.train.augmented
        gather = self.train.inputs.gather if augmented is None else augmented.for_epoch(epoch)

        def of_worker(context: tf.distribute.InputContext) -> Any:
            share = (context.input_pipeline_id, context.num_input_pipelines)
            return tuple_dataset(tuples, gather, context.get_per_replica_batch_size(per_step), share=share)

        batches = iter(self.strategy.distribute_datasets_from_function(of_worker))
        for start in range(0, len(tuples), per_step):
            try:
                with times.measure("waiting"):
                    batch = next(batches)
            except tf.errors.OpError as error:
                raise name_unreadable(error, self.train, tuples[start : start + per_step]) from error
            yield batch

    def _describe_step(self, tuples: np.ndarray, step: int, epoch: int, first: int) -> str:
        """Names the tuples of a step; `step` counts from 1 within `tuples`."""
        per_step = self.settings.tuples_per_step
        rate = self.settings.learning_rate_at(epoch)
        names = file_names(self.train, tuples[(step - 1) * per_step : step * per_step])
        return (
            f"in epoch {epoch}, step {first + step}, at the learning rate {rate:g}. Lower it and resume. The tuples of "
            f"that step, query first: {names}"
        )


def _make_optimizer(model: keras.Model, settings: TrainingSettings) -> keras.optimizers.Optimizer:
    optimizer: keras.optimizers.Optimizer
    if settings.optimizer == "adam":
        optimizer = keras.optimizers.AdamW(settings.learning_rate, settings.weight_decay)
    else:
        optimizer = keras.optimizers.SGD(settings.learning_rate, momentum=settings.momentum)
    if any(layer.compute_dtype == "float16" for layer in all_layers(model)):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    return optimizer
