"""Gradients of a loss over descriptors, with all images in memory at once or a few at a time."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_sare.training.image_pieces import count_images, is_padded, piece, piece_spec

LossAndGradient = Callable[[Any, Any], tuple[Any, Any]]
"""From descriptors [images, dim] and slots to the loss, or a structure of numbers, and the gradient by descriptor."""


def gradients_at_once(
    model: keras.Model, images: Any, slots: Any, loss_and_gradient: LossAndGradient, jit_compile: bool = False
) -> tuple[Any, list[Any]]:
    """Gradients by the trainable weights of `model`, the activations of all images being kept.

    Images of unlike sizes pass one size after the other.

    Args:
        model: gives descriptors [images, dim].
        images: [images, ...], or padded ones in the order of `order_by_size`, see `image_pieces`.
        slots: passed on to `loss_and_gradient`.
        loss_and_gradient: loss of descriptors and its gradient by each.
        jit_compile: whether XLA compiles all of it.

    Returns:
        The loss, and the gradients in the order of `model.trainable_variables`; zeros for a weight of no influence.
    """

    def compute(images: Any, slots: Any) -> tuple[Any, list[Any]]:
        return _back_propagate(model, images, lambda descriptors: loss_and_gradient(descriptors, slots))

    result: tuple[Any, list[Any]] = _compiled(compute, jit_compile)(images, slots)
    return result


def gradients_in_chunks(
    model: keras.Model,
    images: Any,
    slots: Any,
    loss_and_gradient: LossAndGradient,
    chunk: int,
    jit_compile: bool = False,
) -> tuple[Any, list[Any]]:
    """The same gradients in the memory of `chunk` images: gradient caching.

    All images are embedded without keeping activations; the loss gives a gradient by each descriptor; then the images
    are embedded once more, a chunk at a time, and their gradients added up. The second pass repeats the random numbers
    of the first. A layer that looks at several images at once, such as batch normalisation in training mode, sees a
    chunk of them. Images of unlike sizes fall into chunks of one size.

    Reference: Gao, Zhang, Han, Callan, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
    RepL4NLP 2021, section 3.2.

    Args:
        model: gives descriptors [images, dim].
        images: as those of `gradients_at_once`.
        slots: passed on to `loss_and_gradient`.
        loss_and_gradient: loss of descriptors and its gradient by each.
        chunk: images at a time, at least 1.
        jit_compile: whether XLA compiles the network, once for a chunk and once for the rest.

    Returns:
        As `gradients_at_once`.
    """

    def add(rows: Any, by_descriptor: Any, *sums: Any) -> list[Any]:
        _, gradients = _back_propagate(model, rows, lambda _: (None, by_descriptor))
        return [total + gradient for total, gradient in zip(sums, gradients, strict=True)]

    states = _states(model)
    before = [tf.identity(state.value) for state in states]
    descriptors = map_chunks(lambda rows: model(rows, training=True), images, chunk, jit_compile)
    for state, value in zip(states, before, strict=True):
        state.assign(value)
    loss, by_descriptor = loss_and_gradient(descriptors, slots)
    compiled = _compiled(add, jit_compile)
    count = count_images(images)

    def add_piece(start: Any, *sums: Any) -> tuple[Any, ...]:
        rows = piece(images, start, chunk)
        end = start + tf.shape(rows)[0]
        return (end, *compiled(rows, by_descriptor[start:end], *sums))

    _, *gradients = tf.while_loop(
        lambda start, *_: start < count,
        add_piece,
        (0, *[tf.zeros(v.shape, v.dtype) for v in model.trainable_variables]),
        parallel_iterations=1,
    )
    return loss, gradients


def map_chunks(function: Callable[[Any], Any], images: Any, chunk: Any, jit_compile: bool = False) -> Any:
    """Applies `function` to `chunk` images of one size at a time, one chunk after the other.

    Args:
        function: from [n, ...] to a structure of [n, ...], image by image.
        images: [images, ...], or padded ones, see `image_pieces`.
        chunk: images at a time, at least 1; a chunk may be smaller, as `piece` says.
        jit_compile: whether XLA compiles the function.

    Returns:
        What the function gives for all images, a structure of [images, ...].
    """
    traced = tf.function(function, jit_compile=jit_compile, autograph=False)
    results = traced.get_concrete_function(piece_spec(images)).structured_outputs
    count = count_images(images)

    def write_piece(start: Any, number: Any, arrays: Any) -> tuple[Any, Any, Any]:
        rows = piece(images, start, chunk)
        written = tf.nest.map_structure(lambda array, output: array.write(number, output), arrays, traced(rows))
        return start + tf.shape(rows)[0], number + 1, written

    _, _, arrays = tf.while_loop(
        lambda start, *_: start < count,
        write_piece,
        (0, 0, tf.nest.map_structure(_array_of, results)),
        parallel_iterations=1,
    )
    return tf.nest.map_structure(lambda array: array.concat(), arrays)


def _array_of(result: Any) -> tf.TensorArray:
    shape = (None, *result.shape[1:])
    return tf.TensorArray(result.dtype, 0, dynamic_size=True, element_shape=shape, infer_shape=False)


def _compiled(function: Callable[..., Any], jit_compile: bool) -> Callable[..., Any]:
    return tf.function(function, jit_compile=True, autograph=False) if jit_compile else function


def _back_propagate(
    model: keras.Model, images: Any, loss_and_gradient: Callable[[Any], tuple[Any, Any]]
) -> tuple[Any, list[Any]]:
    # By itself a tape records frozen layers too.
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        variables = [v.value for v in model.trainable_variables]
        tape.watch(variables)
        if is_padded(images):
            descriptors = map_chunks(lambda rows: model(rows, training=True), images, count_images(images))
        else:
            descriptors = model(images, training=True)
    loss, by_descriptor = loss_and_gradient(descriptors)
    gradients = tape.gradient(descriptors, variables, by_descriptor, unconnected_gradients="zero")
    return loss, [tf.convert_to_tensor(gradient) for gradient in gradients]


def _states(model: keras.Model) -> list[Any]:
    """What a forward pass in training changes: the states of random generators, and moving averages."""
    frozen = {id(weight) for layer in model.layers if not layer.trainable for weight in layer.weights}
    return [v for v in model.non_trainable_variables if id(v) not in frozen]
