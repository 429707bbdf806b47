from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.losses import ContrastiveLoss, SARELoss, TripletLoss
from keras_sare.models import freeze_before, set_precision, split
from keras_sare.training.step import make_train_step

SHARED = np.array([[0, 1, 2, 3], [4, 1, 3, 5], [6, 5, 2, 7], [6, 7, 2, 1]])
IDS = np.arange(16).reshape(4, 4)


def mirrored():
    """Two replicas. Collective operations, the default, clash where strategies of one process sum different shapes."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())


def pixels(ids, seed=1):
    """An image for every id."""
    images = np.random.default_rng(seed).integers(0, 255, (ids.max() + 1, 12, 16, 3)).astype("float32")
    return images[ids]


def batch(strategy, ids, inputs):
    """A batch split over the replicas. Without a dataset: to stop one takes longer than a step."""
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return ids, inputs

    def of_replica(context):
        return tf.nest.map_structure(
            lambda array: tf.constant(np.split(array, replicas)[context.replica_id_in_sync_group]), (ids, inputs)
        )

    return strategy.experimental_distribute_values_from_function(of_replica)


@dataclass
class Result:
    """What a few steps gave; `velocities` are the sums of gradients."""

    losses: list[float]
    weights: list[np.ndarray]
    velocities: list[np.ndarray]
    optimizer: keras.optimizers.Optimizer


def run(make_model, strategy, loss, steps=3, ids=IDS, precision="float32", scaled=None, **options):
    model = make_model(strategy)
    for weight in model.weights:
        if weight.name == "bias":
            weight.assign(np.full(weight.shape, 0.1))  # The rounding of a weight that starts at 0 has no measure.
    set_precision(model, precision)
    if options.get("frozen"):
        options["frozen"], model = split(model, "conv2")
    with strategy.scope():
        optimizer = sgd = keras.optimizers.SGD(0.001, momentum=0.9)
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(sgd, initial_scale=scaled)
        optimizer.build(model.trainable_variables)
    step = make_train_step(strategy, model, loss, optimizer, weight_decay=1e-2, **options)
    tuples = batch(strategy, ids, pixels(ids))
    losses = [float(step(*tuples)) for _ in range(steps)]
    return Result(losses, arrays(model.trainable_variables), arrays(sgd.momentums), optimizer)


def arrays(variables):
    return [keras.ops.convert_to_numpy(v) for v in variables]


def distance(ours, theirs):
    """Norm of the difference over the norm, of the array that differs most."""
    return max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(ours, theirs, strict=True))


def assert_same(ours, theirs):
    """Sums in another order are the only difference."""
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-5)
    assert distance(ours.weights, theirs.weights) < 1e-6
    assert distance(ours.velocities, theirs.velocities) < 1e-5


def mean_loss(model, loss, ids):
    descriptors = model(pixels(ids).reshape(-1, 12, 16, 3))
    return tf.reduce_mean(loss.call(None, tf.reshape(descriptors, (*ids.shape, -1))))


@pytest.fixture(scope="module")
def remembered():
    """Results that several tests compare with."""
    return {}


@pytest.fixture
def one_replica(make_model, remembered):
    def result(**options):
        if str(options) not in remembered:
            strategy = tf.distribute.get_strategy()
            remembered[str(options)] = run(make_model, strategy, SARELoss(), ids=SHARED, **options)
        return remembered[str(options)]

    return result


@pytest.mark.parametrize(
    "options",
    [
        {},
        # On two replicas the loss scaled by violators is trained by these too, and has this one's path in it.
        pytest.param({"chunk": 3}, marks=pytest.mark.slow),
        pytest.param({"frozen": True, "chunk": 5}, marks=pytest.mark.slow),
    ],
    ids=["plain", "chunked", "frozen part, chunked"],
)
def test_two_replicas_train_like_one_on_the_same_global_batches(make_model, one_replica, options):
    two_replicas = mirrored()
    assert two_replicas.num_replicas_in_sync == 2
    assert_same(run(make_model, two_replicas, SARELoss(), ids=SHARED, **options), one_replica(**options))


def test_step_is_sgd_with_momentum_and_decay_inside_the_momentum(make_model):
    """MatConvNet's rule, written out: m <- 0.9 m - lr (g + decay w); w <- w + m."""
    loss = ContrastiveLoss()
    model = make_model()
    result = run(lambda _: model, tf.distribute.get_strategy(), loss, steps=0)
    weights = [tf.Variable(w) for w in result.weights]
    velocity = [tf.zeros_like(w) for w in weights]
    for _ in range(3):
        for variable, w in zip(model.trainable_variables, weights, strict=True):
            variable.assign(w)
        with tf.GradientTape() as tape:
            value = mean_loss(model, loss, IDS)
        gradients = tape.gradient(value, model.trainable_variables)
        velocity = [0.9 * v - 0.001 * (g + 1e-2 * w) for v, g, w in zip(velocity, gradients, weights, strict=True)]
        for w, v in zip(weights, velocity, strict=True):
            w.assign_add(v)
    trained = run(make_model, tf.distribute.get_strategy(), loss)
    assert distance(trained.weights, arrays(weights)) < 1e-6
    assert distance(trained.velocities, arrays(velocity)) < 1e-5


def test_loss_is_the_mean_over_tuples_before_the_update(make_model):
    model = make_model()
    run(lambda _: model, tf.distribute.get_strategy(), SARELoss(), steps=0)
    before = float(mean_loss(model, SARELoss(), IDS))
    losses = run(lambda _: model, tf.distribute.get_strategy(), SARELoss()).losses
    assert losses[0] == pytest.approx(before, rel=1e-5)
    assert losses[-1] < losses[0]


OPTIONS = {
    "chunked": {"chunk": 3},
    "compiled": {"jit_compile": True},
    "nothing shared": {"share": False},
    "loss scaled": {"scaled": 2.0**10},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_option_gives_the_weights_of_the_plain_step(one_replica, options):
    assert_same(one_replica(**options), one_replica())


def test_compiled_step_with_a_frozen_part_is_the_plain_one_with_it(one_replica):
    assert_same(one_replica(frozen=True, jit_compile=True), one_replica(frozen=True))


def test_frozen_part_outside_of_the_model_is_the_same_as_frozen_layers_inside_of_it(make_model, one_replica):
    def with_frozen_layers(strategy):
        model = make_model(strategy)
        freeze_before(model, "conv2")
        return model

    inside = run(with_frozen_layers, tf.distribute.get_strategy(), SARELoss(), ids=SHARED)
    assert_same(one_replica(frozen=True, chunk=5), inside)


@pytest.fixture(scope="module")
def netvlad():
    """NetVLAD's triplet and its scale, at a margin that some tuples of a batch violate more often than others."""
    return TripletLoss(MARGIN, scale="divide_by_violators")


MARGIN = 0.045


def violators(model, ids):
    x = tf.reshape(model(pixels(ids).reshape(-1, 12, 16, 3)), (*ids.shape, -1)).numpy()
    d = np.sum((x[:, :1] - x[:, 1:]) ** 2, axis=-1)
    return (d[:, 1:] < d[:, :1] + MARGIN).sum(axis=1)


def test_first_step_of_triplet_divides_by_the_violators_of_the_batch(make_model, netvlad):
    one = tf.distribute.get_strategy()
    model = make_model()
    run(lambda _: model, one, netvlad, steps=0)
    of_tuples = violators(model, SHARED)
    assert 0 < of_tuples.sum() < 8
    assert of_tuples[:2].sum() != of_tuples[2:].sum(), "two replicas see different numbers"
    mean, ratio = (run(make_model, one, loss, steps=1, ids=SHARED) for loss in (TripletLoss(MARGIN), netvlad))
    assert ratio.losses == mean.losses  # the mean over tuples, as the original prints it
    # Velocities are -0.001 * (gradient + 0.01 * weight).
    decay = [-0.001 * 1e-2 * w for w in arrays(model.trainable_variables)]
    gradients = [[v - d for v, d in zip(result.velocities, decay, strict=True)] for result in (mean, ratio)]
    expected = [g * len(SHARED) / of_tuples.sum() for g in gradients[0]]
    assert distance(gradients[1], expected) < 1e-3
    assert distance(gradients[1], gradients[0]) > 0.1


@pytest.mark.parametrize(
    ("replicas", "options"),
    [
        (2, {}),
        (1, {"chunk": 3}),
        (2, {"chunk": 3}),
        (2, {"frozen": True, "chunk": 5}),
        (1, {"jit_compile": True}),
        (2, {"jit_compile": True}),
        (1, {"scaled": 2.0**10}),
        (2, {"scaled": 2.0**10}),
    ],
)
def test_scale_by_violators_depends_on_neither_replicas_nor_chunks(make_model, netvlad, remembered, replicas, options):
    frozen = options.get("frozen")
    if ("by violators", frozen) not in remembered:
        one = tf.distribute.get_strategy()
        remembered["by violators", frozen] = run(make_model, one, netvlad, ids=SHARED, frozen=frozen)
    strategy = mirrored() if replicas == 2 else tf.distribute.get_strategy()
    result = run(make_model, strategy, netvlad, ids=SHARED, **options)
    assert_same(result, remembered["by violators", frozen])


def test_batch_without_violators_has_no_gradient(make_model):
    loss = TripletLoss(1e-9, scale="divide_by_violators")
    ids = np.array([[0, 0, 2, 3], [4, 4, 3, 5], [6, 6, 2, 7], [6, 6, 7, 1]])  # The positive is the query.
    result = run(make_model, tf.distribute.get_strategy(), loss, steps=1, ids=ids)
    assert result.losses == [0.0]
    model = make_model()
    run(lambda _: model, tf.distribute.get_strategy(), loss, steps=0)
    for velocity, weight in zip(result.velocities, arrays(model.trainable_variables), strict=True):
        np.testing.assert_allclose(velocity, -0.001 * 1e-2 * weight, rtol=1e-5, atol=1e-12)


class Counter(keras.layers.Layer):
    """Counts the images that pass."""

    def build(self, _):
        self.images = self.add_weight(name="images", dtype="int64", initializer="zeros", trainable=False)

    def call(self, inputs):
        self.images.assign_add(tf.shape(inputs, out_type=tf.int64)[0])
        return inputs


def test_image_that_occurs_several_times_is_embedded_once(make_model):
    model = make_model()
    counter = Counter()
    inputs = keras.Input((None, None, 3))
    counted = keras.Model(inputs, model(counter(inputs)))
    run(lambda _: counted, tf.distribute.get_strategy(), SARELoss(), steps=1, ids=SHARED)
    assert int(counter.images) == len(np.unique(SHARED)) < SHARED.size


@pytest.mark.parametrize(("precision", "scaled"), [("mixed_bfloat16", None), ("mixed_float16", 256.0)])
def test_mixed_precision_trains_float32_weights_as_float32_does(one_replica, precision, scaled):
    exact = one_replica()
    rounded = one_replica(precision=precision, scaled=scaled)
    np.testing.assert_allclose(rounded.losses, exact.losses, rtol=0.01)
    assert {w.dtype for w in rounded.weights} == {np.dtype("float32")}
    assert distance(rounded.velocities, exact.velocities) < 0.1


def test_step_that_overflows_is_left_out_and_the_scale_halved(make_model):
    options = {"precision": "mixed_float16", "scaled": 2.0**30}
    skipped = run(make_model, tf.distribute.get_strategy(), SARELoss(), steps=2, **options)
    assert not any(np.any(velocity) for velocity in skipped.velocities)
    assert skipped.losses[0] == skipped.losses[1] > 0
    assert float(skipped.optimizer.dynamic_scale) == 2.0**28
    trained = run(make_model, tf.distribute.get_strategy(), SARELoss(), steps=30, **options)
    assert 0 < int(trained.optimizer.iterations) < 30
    assert 0 < distance(trained.weights, skipped.weights) < 0.1


def test_overflow_on_one_replica_leaves_the_step_out_on_all(make_model):
    strategy = mirrored()
    model = make_model(strategy)
    start = arrays(model.trainable_variables)
    with strategy.scope():
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.001, momentum=0.9))
        optimizer.build(model.trainable_variables)
    step = make_train_step(strategy, model, SARELoss(), optimizer, weight_decay=1e-2)
    inputs = pixels(IDS)
    inputs[2:] = np.inf  # The second replica's tuples.
    step(*batch(strategy, IDS, inputs))
    for variable, value in zip(model.trainable_variables, start, strict=True):
        for copy in strategy.experimental_local_results(variable.value):
            np.testing.assert_array_equal(copy, value)
    assert float(keras.ops.convert_to_numpy(optimizer.dynamic_scale)) == 2.0**14


@pytest.mark.parametrize("frozen", [False, True], ids=["whole model", "frozen part"])
def test_steps_are_mirrored_whole_or_not_at_all(make_model, frozen):
    """Each step's loss is that of the batch or of the batch with every input of the trained part mirrored."""
    strategy = tf.distribute.get_strategy()
    model = make_model(strategy)
    first, trained = split(model, "conv2") if frozen else (None, model)
    optimizer = keras.optimizers.SGD(0.0)
    optimizer.build(trained.trainable_variables)
    step = make_train_step(strategy, trained, SARELoss(), optimizer, 0.0, frozen=first, mirror_seed=3)
    inputs = pixels(IDS)
    flat = inputs.reshape(-1, 12, 16, 3)
    maps = first(flat) if frozen else flat
    straight, mirrored = (
        float(tf.reduce_mean(SARELoss().call(None, tf.reshape(trained(part), (*IDS.shape, -1)))))
        for part in (maps, maps[:, :, ::-1])
    )
    losses = np.array([float(step(IDS, inputs)) for _ in range(12)])
    assert abs(straight - mirrored) > 1e-3 * straight
    nearer = np.where(np.abs(losses - straight) < np.abs(losses - mirrored), straight, mirrored)
    np.testing.assert_allclose(losses, nearer, rtol=1e-5)
    assert 2 <= np.sum(nearer == mirrored) <= 10


def test_mirroring_is_the_same_on_all_replicas(make_model):
    two, one = (
        run(make_model, strategy, SARELoss(), ids=SHARED, mirror_seed=1)
        for strategy in (mirrored(), tf.distribute.get_strategy())
    )
    assert_same(two, one)


def test_what_is_no_map_is_not_mirrored():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=r"`mirror_seed` must be None where .* Received: input shape \(None, 8\)"):
        make_train_step(tf.distribute.get_strategy(), model, SARELoss(), keras.optimizers.SGD(), 0.0, mirror_seed=0)


def test_loss_that_is_reduced_otherwise_is_refused(make_model):
    strategy = tf.distribute.get_strategy()
    with pytest.raises(ValueError, match="`loss` must have the reduction .* Received: loss.reduction='sum'"):
        make_train_step(strategy, make_model(strategy), SARELoss(reduction="sum"), keras.optimizers.SGD(), 0.0)


def test_negative_chunk_is_refused(make_model):
    strategy = tf.distribute.get_strategy()
    with pytest.raises(ValueError, match="`chunk` must be a number of images, or 0 .* Received: chunk=-1"):
        make_train_step(strategy, make_model(strategy), SARELoss(), keras.optimizers.SGD(), 0.0, chunk=-1)
