"""Steps on images of unlike sizes, against one image after the other."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.losses import ContrastiveLoss, SARELoss
from keras_sare.models import set_precision, split
from keras_sare.training.step import make_train_step

IDS = np.array([[0, 1, 2, 3], [4, 1, 3, 5], [6, 5, 2, 7], [6, 7, 2, 1]])
SIZES = np.array([[12, 16], [16, 12], [12, 16], [16, 16], [9, 16], [16, 12], [12, 16], [16, 12]], "int32")
RATE = 1e-3


def images():
    """Values that are no number where an image ends: padding must not be looked at."""
    values = np.full((8, 16, 16, 3), np.nan, "float32")
    for i, (height, width) in enumerate(SIZES):
        values[i, :height, :width] = np.random.default_rng(i).integers(0, 255, (height, width, 3))
    return values


def mirrored():
    """As in `test_step`."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())


def batch(strategy, ids, inputs):
    """As in `test_step`."""
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return ids, inputs

    def of_replica(context):
        return tf.nest.map_structure(
            lambda array: tf.constant(np.split(array, replicas)[context.replica_id_in_sync_group]), (ids, inputs)
        )

    return strategy.experimental_distribute_values_from_function(of_replica)


def arrays(variables):
    return [keras.ops.convert_to_numpy(v) for v in variables]


def run(make_model, loss, strategy=None, optimizer=None, frozen=False, precision="float32", steps=3, **options):
    """Losses, changes of the weights, and the optimizer, after some steps on all tuples."""
    strategy = strategy or tf.distribute.get_strategy()
    model = make_model(strategy)
    set_precision(model, precision)
    if frozen:
        options["frozen"], model = split(model, "conv2")
    with strategy.scope():
        optimizer = optimizer() if optimizer else keras.optimizers.SGD(RATE, momentum=0.9)
        optimizer.build(model.trainable_variables)
    before = arrays(model.trainable_variables)
    step = make_train_step(strategy, model, loss, optimizer, weight_decay=1e-2, **options)
    tuples = batch(strategy, IDS, {"values": images()[IDS], "sizes": SIZES[IDS]})
    losses = [float(step(*tuples)) for _ in range(steps)]
    changes = [after - start for after, start in zip(arrays(model.trainable_variables), before, strict=True)]
    return losses, changes, optimizer


def one_by_one(make_model, loss, optimizer=None, steps=3):
    """The same, every image of every tuple embedded by itself; all layers are trained."""
    model = make_model()
    optimizer = optimizer() if optimizer else keras.optimizers.SGD(RATE, momentum=0.9)
    variables = model.trainable_variables
    before = arrays(model.trainable_variables)
    losses = []
    for _ in range(steps):
        with tf.GradientTape() as tape:
            each = [model(images()[i, :height, :width][None]) for i in IDS.ravel() for height, width in [SIZES[i]]]
            value = tf.reduce_mean(loss.call(None, tf.reshape(tf.concat(each, 0), (*IDS.shape, -1))))
        gradients = tape.gradient(value, variables)
        optimizer.apply([g + 1e-2 * v for g, v in zip(gradients, variables, strict=True)], variables)
        losses.append(float(value))
    return losses, [after - start for after, start in zip(arrays(variables), before, strict=True)]


def distance(ours, theirs):
    """Norm of the difference over the norm, of the array that differs most."""
    return max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(ours, theirs, strict=True))


@pytest.fixture(scope="module")
def remembered():
    """Results that several tests compare with."""
    return {}


@pytest.fixture
def expected(make_model, remembered):
    if not remembered:
        remembered["plain"] = one_by_one(make_model, SARELoss())
    return remembered["plain"]


CASES = {
    "at once": (1, {}),
    "in chunks": (1, {"chunk": 2}),
    "not shared": (1, {"share": False}),
    "two replicas": (2, {}),
    "two replicas, in chunks": (2, {"chunk": 2}),
}


@pytest.mark.parametrize(("replicas", "options"), CASES.values(), ids=CASES)
def test_step_is_that_of_one_image_after_the_other(make_model, expected, replicas, options):
    losses, changes, _ = run(make_model, SARELoss(), mirrored() if replicas == 2 else None, **options)
    np.testing.assert_allclose(losses, expected[0], rtol=1e-5)
    assert distance(changes, expected[1]) < 1e-5


def test_adam_steps_are_those_of_one_image_after_the_other(make_model):
    def adam():
        # A smaller epsilon makes steps of the rounding of gradients that are nearly 0.
        return keras.optimizers.Adam(1e-3, epsilon=0.1)

    expected = one_by_one(make_model, ContrastiveLoss(), adam)
    losses, changes, _ = run(make_model, ContrastiveLoss(), optimizer=adam)
    np.testing.assert_allclose(losses, expected[0], rtol=1e-5)
    assert distance(changes, expected[1]) < 1e-5


@pytest.mark.parametrize(("replicas", "chunk"), [(1, 0), (2, 2)], ids=["at once", "two replicas, in chunks"])
def test_frozen_part_outside_of_the_model_is_the_same_as_frozen_layers_inside_of_it(make_model, replicas, chunk):
    def with_frozen_layers(strategy=None):
        model = make_model(strategy)
        model.get_layer("conv1").trainable = False
        return model

    expected = one_by_one(with_frozen_layers, SARELoss())
    strategy = mirrored() if replicas == 2 else None
    losses, changes, _ = run(make_model, SARELoss(), strategy, frozen=True, chunk=chunk)
    np.testing.assert_allclose(losses, expected[0], rtol=1e-5)
    assert distance(changes, expected[1]) < 1e-5


def test_scaled_loss_gives_the_same_step(make_model, expected):
    def scaled():
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE, momentum=0.9), initial_scale=2.0**10)

    losses, changes, _ = run(make_model, SARELoss(), optimizer=scaled)
    np.testing.assert_allclose(losses, expected[0], rtol=1e-5)
    assert distance(changes, expected[1]) < 1e-5


def test_float16_trains_as_float32_does_and_leaves_out_a_step_that_overflows(make_model, expected):
    def scaled(scale):
        return lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE, momentum=0.9), scale)

    losses, changes, _ = run(make_model, SARELoss(), optimizer=scaled(256.0), precision="mixed_float16")
    np.testing.assert_allclose(losses, expected[0], rtol=0.01)
    assert distance(changes, expected[1]) < 0.1
    _, changes, optimizer = run(make_model, SARELoss(), optimizer=scaled(2.0**30), precision="mixed_float16", steps=1)
    assert not any(np.any(change) for change in changes)
    assert float(optimizer.dynamic_scale) == 2.0**29


class Counter(keras.layers.Layer):
    """Counts the images that pass, and the times that the layer is traced."""

    traced = 0

    def build(self, _):
        self.images = self.add_weight(name="images", dtype="int64", initializer="zeros", trainable=False)

    def call(self, inputs):
        self.traced += not isinstance(inputs, keras.KerasTensor)
        self.images.assign_add(tf.shape(inputs, out_type=tf.int64)[0])
        return inputs


def test_image_that_occurs_several_times_is_embedded_once_and_one_graph_does_for_all_sizes(make_model):
    counter = Counter()
    inputs = keras.Input((None, None, 3))
    counted = keras.Model(inputs, make_model()(counter(inputs)))
    run(lambda _: counted, SARELoss(), steps=1)
    assert int(counter.images) == len(SIZES)
    # Once for the shape of the descriptors and once in the loop, whatever the number of sizes.
    assert counter.traced <= 2


def test_compiling_for_unlike_sizes_is_refused(make_model):
    with pytest.raises(ValueError, match="`jit_compile` must be False where images are of unlike.*jit_compile=True"):
        run(make_model, SARELoss(), jit_compile=True)


def test_mirroring_unlike_sizes_is_refused(make_model):
    with pytest.raises(ValueError, match="`mirror_seed` must be None where images are of unlike.*mirror_seed=0"):
        run(make_model, SARELoss(), mirror_seed=0)
