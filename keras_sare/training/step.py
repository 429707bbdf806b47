"""One step of training on a batch of tuples, on every replica."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_sare.losses import TupleLoss
from keras_sare.losses.base import mean_to_ratio
from keras_sare.training.gradient_cache import gradients_at_once, gradients_in_chunks, map_chunks
from keras_sare.training.image_pieces import is_padded, order_by_size, pad

FROZEN_CHUNK = 4
"""Images that the frozen part takes at a time: enough to fill the device, few enough to need no memory to speak of."""


def make_train_step(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    loss: TupleLoss,
    optimizer: keras.optimizers.Optimizer,
    weight_decay: float,
    *,
    frozen: keras.Model | None = None,
    chunk: int = 0,
    jit_compile: bool = False,
    share: bool = True,
    mirror_seed: int | None = None,
) -> Callable[[Any, Any], Any]:
    """Makes the function that trains `model` on one batch of tuples.

    The gradient is that of the mean loss over the tuples of all replicas, or of their sum over the sum of the loss's
    `divisors`, plus weight_decay * weight as MatConvNet and PyTorch's SGD add it (Keras's own `weight_decay` leaves it
    out of the momentum: ten times weaker at 0.9).

    With a `keras.optimizers.LossScaleOptimizer`, for float16, the loss is scaled; a step whose gradient overflows on
    any replica is left out on all of them.

    Images of unlike sizes, as `BucketedInputs` gives them, are embedded size by size, each without its padding, by the
    same graph: heights and widths are those of the batch at hand.

    Batch normalisation in training mode normalises over the images that it is given at a time: over the distinct images
    of a replica's batch, or over a chunk of them, and of these over those of one size. Where sizes are unlike, that may
    be a single image: freeze such layers.

    Args:
        strategy: the strategy under whose scope `model` and `optimizer` were made.
        model: gives descriptors [n, dim] of inputs [n, ...]. Its trainable weights are trained.
        loss: one value per tuple; their mean is taken, so its reduction must be Keras' default, and the scale of the
            gradient is its `scale`.
        optimizer: updates the weights; built on `model.trainable_variables`.
        weight_decay: factor of the weights in the gradient.
        frozen: the part before `model`, which is not trained: inputs are then its inputs. It runs for inference, a few
            images at a time, so that a step needs the memory of `model` alone.
        chunk: 0, or how many images are embedded and back-propagated at a time, see `gradients_in_chunks`: memory is
            that of so many images and of the descriptors, for a third more arithmetic and the same gradient.
        jit_compile: whether XLA compiles the networks. Shared images are then embedded as often as they occur, because
            XLA would compile anew for every number of distinct images.
        share: whether an image that occurs twice in a replica's batch is embedded once. False where the inputs of two
            occurrences differ, as those of augmented images do.
        mirror_seed: not None: every other step, drawn from this seed and the optimizer's count of steps, trains on its
            batch mirrored left to right, see `TrainingSettings.mirror`.

    Returns:
        Function from ids int64 [tuples, tuple size] and inputs [tuples, tuple size, ...], or the per-replica values of
        a distributed dataset, to the mean loss over all tuples, float32 scalar. Equal ids say that inputs are equal.
        Inputs of unlike sizes are {"values": [tuples, tuple size, H, W, C], "sizes": int32 [tuples, tuple size, 2]}.

    Raises:
        ValueError: the loss has another reduction, `chunk` is negative, or what is to be mirrored is no map; in the
            function, `jit_compile` or `mirror_seed` with inputs of unlike sizes.
    """
    _check(loss, chunk)
    if mirror_seed is not None:
        _check_maps(model)
    variables = model.trainable_variables
    replicas = strategy.num_replicas_in_sync

    def loss_and_gradient(descriptors: Any, slots: Any) -> tuple[tuple[Any, Any], Any]:
        tuples = tf.gather(descriptors, slots)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(tuples)
            # Every replica holds the same number of tuples, and the optimizer adds up the replicas' gradients.
            mean = tf.reduce_mean(loss.call(None, tuples)) / replicas
            scaled = optimizer.scale_loss(mean)
        divisors = loss.divisors(None, tuples)
        divisor = None if divisors is None else tf.reduce_sum(divisors)
        by_descriptor = tf.math.unsorted_segment_sum(tape.gradient(scaled, tuples), slots, tf.shape(descriptors)[0])
        return (mean, divisor), by_descriptor

    def on_replica(ids: Any, inputs: Any) -> Any:
        _check_inputs(inputs, jit_compile, mirror_seed)
        images, slots = _images(ids, inputs, share and not jit_compile)
        if frozen is not None:
            images = _pass_frozen(frozen, images, jit_compile)
        if mirror_seed is not None:
            images = _mirrored_at_times(images, mirror_seed, optimizer.iterations)
        if chunk:
            result, gradients = gradients_in_chunks(model, images, slots, loss_and_gradient, chunk, jit_compile)
        else:
            result, gradients = gradients_at_once(model, images, slots, loss_and_gradient, jit_compile)
        mean, divisor = result
        if divisor is not None:
            gradients = _rescaled(gradients, tf.shape(ids)[0] * replicas, divisor)
        decay = optimizer.scale_loss(weight_decay / replicas)
        decayed = [g + decay * v for g, v in zip(gradients, variables, strict=True)]
        if replicas > 1 and isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            decayed = _overflown_everywhere(decayed)
        optimizer.apply(decayed, variables)
        return mean

    @tf.function(autograph=False)  # As Keras traces models: nothing here is an `if` or a loop over tensors.
    def step(ids: Any, inputs: Any) -> Any:
        return strategy.reduce("SUM", strategy.run(on_replica, (ids, inputs)), axis=None)

    return step


def _check(loss: TupleLoss, chunk: int) -> None:
    if loss.reduction not in ("sum_over_batch_size", "mean"):
        raise ValueError(
            "`loss` must have the reduction 'sum_over_batch_size': the mean over tuples is trained. A sum is that at a "
            f"learning rate as many times larger. Received: loss.reduction={loss.reduction!r}"
        )
    if chunk < 0:
        raise ValueError(f"`chunk` must be a number of images, or 0 for all of them at once. Received: chunk={chunk}")


def _check_maps(model: keras.Model) -> None:
    if len(model.inputs[0].shape) != 4:
        raise ValueError(
            "`mirror_seed` must be None where the trained layers take no maps [batch, height, width, channels]. "
            f"Received: input shape {tuple(model.inputs[0].shape)}"
        )


def _check_inputs(inputs: Any, jit_compile: bool, mirror_seed: int | None) -> None:
    if mirror_seed is not None and is_padded(inputs):
        raise ValueError(
            "`mirror_seed` must be None where images are of unlike sizes: resize all images to one (height, width). "
            f"Received: mirror_seed={mirror_seed}"
        )
    if jit_compile and is_padded(inputs):
        raise ValueError(
            "`jit_compile` must be False where images are of unlike sizes: XLA would compile the network anew for "
            "every size and number of images. Or resize all images to one (height, width). Received: jit_compile=True"
        )


def _images(ids: Any, inputs: Any, share: bool) -> tuple[Any, Any]:
    """Inputs [images, ...] of the batch's images and, for each place in a tuple, which of them stands there.

    Images of unlike sizes are in the order of their sizes.
    """
    images = tf.nest.map_structure(_flat, inputs)
    slots = tf.range(tf.size(ids))
    chosen = slots
    if share:
        distinct, slots = tf.unique(tf.reshape(ids, [-1]))
        chosen = tf.math.unsorted_segment_min(chosen, slots, tf.size(distinct))
    if is_padded(images):
        order = order_by_size(tf.gather(images["sizes"], chosen))
        chosen = tf.gather(chosen, order)
        slots = tf.gather(tf.math.invert_permutation(order), slots)
    if share or is_padded(images):
        images = tf.nest.map_structure(lambda values: tf.gather(values, chosen), images)
    return images, tf.reshape(slots, tf.shape(ids))


def _flat(values: Any) -> Any:
    flat = tf.reshape(values, tf.concat([[-1], tf.shape(values)[2:]], 0))
    return tf.ensure_shape(flat, (None, *values.shape[2:]))


def _pass_frozen(frozen: keras.Model, images: Any, jit_compile: bool) -> Any:
    """What the frozen part gives for the images, in the form that the images have."""
    if not is_padded(images):
        return map_chunks(lambda x: frozen(x, training=False), images, FROZEN_CHUNK, jit_compile)
    height, width = frozen.compute_output_shape((1, *images["values"].shape[1:]))[1:3]
    return map_chunks(lambda x: pad(frozen(x, training=False), height, width), images, FROZEN_CHUNK)


def _mirrored_at_times(images: Any, seed: int, step: Any) -> Any:
    """All of a batch or none: images of a place and of those beside it keep showing one world."""
    # Named, because the default is another generator on another device.
    drawn = tf.random.stateless_uniform([], [seed, tf.cast(step, tf.int32)], alg="philox")
    return tf.raw_ops.Reverse(tensor=images, dims=tf.stack([False, False, drawn < 0.5, False]))


def _rescaled(gradients: list[Any], tuples: Any, divisor: Any) -> list[Any]:
    """Makes the gradient of the mean over `tuples` that of their sum over all replicas' `divisor` together."""
    together = tf.distribute.get_replica_context().all_reduce("SUM", divisor)
    return [gradient * tf.cast(mean_to_ratio(tuples, together), gradient.dtype) for gradient in gradients]


def _overflown_everywhere(gradients: list[Any]) -> list[Any]:
    """Makes the gradient NaN on every replica where it is not finite on one: Keras looks at the first replica alone."""
    finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in gradients])
    overflown = tf.distribute.get_replica_context().all_reduce("SUM", tf.cast(~finite, tf.float32))
    return [tf.where(overflown > 0, tf.constant(float("nan"), g.dtype), g) for g in gradients]
