import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.training.gradient_cache import gradients_at_once, gradients_in_chunks, map_chunks

IMAGES = np.random.default_rng(0).standard_normal((7, 6, 6, 3)).astype("float32")
SLOTS = np.array([[0, 1, 2, 3], [4, 1, 5, 6]])
SIZES = np.array([[6, 5], [6, 5], [6, 5], [4, 6], [4, 6], [6, 6], [6, 5]], "int32")
PADDED = {"values": IMAGES, "sizes": SIZES}


def make_model(middle=None):
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    x = middle(x) if middle else x
    return keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Flatten()(x)))


def make_model_of_any_size(middle=None):
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    x = middle(x) if middle else x
    return keras.Model(inputs, keras.layers.Dense(5)(keras.layers.GlobalMaxPooling2D()(x)))


def loss_and_gradient(descriptors, slots):
    """A loss in which every descriptor meets every other, weighted by how often it occurs."""
    with tf.GradientTape() as tape:
        tape.watch(descriptors)
        places = tf.matmul(tf.one_hot(tf.reshape(slots, [-1]), tf.shape(descriptors)[0]), descriptors)
        loss = tf.reduce_logsumexp(tf.matmul(places, places, transpose_b=True))
    return loss, tape.gradient(loss, descriptors)


def traced(function):
    """As `make_train_step` traces: without AutoGraph."""
    return tf.function(function, autograph=False)


def in_chunks(model, chunk, images=IMAGES, **options):
    compute = traced(lambda x: gradients_in_chunks(model, x, tf.constant(SLOTS), loss_and_gradient, chunk, **options))
    return compute(tf.nest.map_structure(tf.constant, images))


def at_once(model, images=IMAGES, **options):
    compute = traced(lambda x: gradients_at_once(model, x, tf.constant(SLOTS), loss_and_gradient, **options))
    return compute(tf.nest.map_structure(tf.constant, images))


def assert_equal(ours, theirs, tolerance=2e-6):
    assert float(ours[0]) == pytest.approx(float(theirs[0]), rel=1e-6)
    for a, b in zip(ours[1], theirs[1], strict=True):
        assert np.linalg.norm(a - b) <= tolerance * np.linalg.norm(b)


def test_gradient_at_once_is_that_of_one_tape():
    model = make_model()
    with tf.GradientTape() as tape:
        loss, _ = loss_and_gradient(model(IMAGES), SLOTS)
    assert_equal(at_once(model), (loss, tape.gradient(loss, model.trainable_variables)))


def test_gradient_in_chunks_is_that_at_once():
    model = make_model()
    expected = at_once(model)
    for chunk in (1, 3, 7, 100):
        assert_equal(in_chunks(model, chunk), expected)


def test_gradient_of_images_of_unlike_sizes_is_that_of_one_after_the_other_without_padding():
    model = make_model_of_any_size()
    with tf.GradientTape() as tape:
        each = [model(image[None, :height, :width]) for image, (height, width) in zip(IMAGES, SIZES, strict=True)]
        loss, _ = loss_and_gradient(tf.concat(each, 0), SLOTS)
    expected = (loss, tape.gradient(loss, model.trainable_variables))
    assert_equal(at_once(model, PADDED), expected)
    for chunk in (1, 2, 100):
        assert_equal(in_chunks(model, chunk, PADDED), expected)


def test_compiled_gradient_is_the_same():
    model = make_model()
    expected = at_once(model)
    assert_equal(at_once(model, jit_compile=True), expected)
    assert_equal(in_chunks(model, 3, jit_compile=True), expected)


def test_second_pass_draws_the_random_numbers_of_the_first():
    """Were they others, the gradient of what dropout lets through would not be that of the loss."""
    model = make_model(keras.layers.Dropout(0.5, seed=1))
    state = [v for v in model.variables if "seed" in v.path][0]
    start = keras.ops.convert_to_numpy(state)
    chunked = in_chunks(model, 7)
    end = keras.ops.convert_to_numpy(state)
    state.assign(start)
    assert_equal(chunked, at_once(model))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(state), end)
    assert (end != start).any()


def test_second_pass_over_unlike_sizes_draws_the_random_numbers_of_the_first():
    model = make_model_of_any_size(keras.layers.Dropout(0.5, seed=1))
    state = [v for v in model.variables if "seed" in v.path][0]
    start = keras.ops.convert_to_numpy(state)
    chunked = in_chunks(model, 7, PADDED)
    state.assign(start)
    assert_equal(chunked, at_once(model, PADDED))


def test_moving_averages_move_once():
    model = make_model(keras.layers.BatchNormalization(momentum=0.5))
    averages = model.non_trainable_variables
    start = [keras.ops.convert_to_numpy(v) for v in averages]
    in_chunks(model, 7)
    moved = [keras.ops.convert_to_numpy(v) for v in averages]
    for variable, value in zip(averages, start, strict=True):
        variable.assign(value)
    at_once(model)
    for variable, value, old in zip(averages, moved, start, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), value, rtol=1e-6)
        assert np.abs(value - old).max() > 0.01


def test_weight_of_no_influence_has_the_gradient_zero():
    model = make_model()
    idle = keras.layers.Dense(2)
    model.idle = idle
    idle.build((None, 3))
    assert len(model.trainable_variables) == 6
    for _, gradients in (at_once(model), in_chunks(model, 3)):
        assert not any(np.any(gradient) for gradient in gradients[-2:])


def test_no_gradient_is_computed_for_frozen_layers():
    """A convolution has one operation for the gradient by its filter, and one for that by its input."""

    def operations(trained):
        model = make_model(keras.layers.Conv2D(4, 3))
        for layer in model.layers[:trained]:
            layer.trainable = False

        def compute(x):
            return gradients_at_once(model, x, tf.constant(SLOTS), loss_and_gradient)

        graph = traced(compute).get_concrete_function(tf.TensorSpec(IMAGES.shape)).graph
        needed = [output.op.name for output in graph.outputs]
        nodes = tf.compat.v1.graph_util.extract_sub_graph(graph.as_graph_def(), needed).node
        return [[node.op for node in nodes].count(f"Conv2DBackprop{by}") for by in ("Filter", "Input")]

    assert operations(0) == [2, 1]
    assert operations(2) == [1, 0]


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_mapping_in_chunks_is_mapping(chunk):
    outputs = traced(lambda x: map_chunks(lambda rows: tf.cast(2 * rows[..., 0], tf.float16), x, chunk))(IMAGES)
    np.testing.assert_array_equal(outputs, (2 * IMAGES[..., 0]).astype("float16"))


def test_mapped_function_never_sees_more_than_a_chunk():
    sizes = traced(lambda x: map_chunks(lambda rows: tf.fill([tf.shape(rows)[0]], tf.shape(rows)[0]), x, 3))(IMAGES)
    np.testing.assert_array_equal(sizes, [3, 3, 3, 3, 3, 3, 1])


def test_mapped_function_sees_one_size_at_a_time_and_gives_any_structure():
    def numbers_and_sizes(rows):
        shape = tf.shape(rows)
        return tf.fill([shape[0]], shape[0]), {"size": tf.repeat(shape[None, 1:3], shape[0], axis=0)}

    numbers, rest = traced(lambda x: map_chunks(numbers_and_sizes, x, 2))(PADDED)
    np.testing.assert_array_equal(numbers, [2, 2, 1, 2, 2, 1, 1])
    np.testing.assert_array_equal(rest["size"], SIZES)
