"""The contract that every loss over tuples keeps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_sare.losses import LOSSES, ContrastiveLoss, SARELoss, TripletLoss, TupleLoss, get

# Every loss as `get` makes it, and some whose arguments are all other than their defaults.
CASES = [get(name) for name in LOSSES] + [
    SARELoss(kernel="cauchy", mode="joint", dtype="float64", scale="divide_by_negatives"),
    SARELoss(kernel="exponential", temperature=0.5, reduction="sum", name="mine"),
    ContrastiveLoss(margin=1.2),
    TripletLoss(margin=1.5, squared=False, scale="divide_by_negatives"),
    TripletLoss(margin=1.5, scale="divide_by_violators", name="published"),
    get("multi_similarity", alpha=1.5, beta=40.0, base=0.4),
    get("info_nce", temperature=0.2),
]


STEEPEST = {"info_nce": 13, "gaussian-cool": 13}
"""Bounds of the gradient other than 10, for losses of a low temperature."""


class Distances(TupleLoss):
    """Squared distances from the query to everything else, [batch, 1 + negatives]."""

    def from_distances(self, positive_distances: Any, negative_distances: Any, mask: Any = None) -> Any:
        return ops.concatenate([positive_distances[:, None], negative_distances], axis=1)


def tuples(batch: int = 4, negatives: int = 3, dim: int = 5, dtype: str = "float32") -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(batch, 2 + negatives, dim))
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(dtype)


@pytest.fixture(params=CASES, ids=lambda loss: f"{type(loss).__name__}-{loss.name}-{loss.dtype}")
def loss(request: pytest.FixtureRequest) -> TupleLoss:
    return request.param


@pytest.fixture
def float16_floatx() -> Iterator[None]:
    keras.config.set_floatx("float16")
    yield
    keras.config.set_floatx("float32")


def test_there_is_one_value_per_tuple_and_tuples_do_not_mix(loss: TupleLoss) -> None:
    x = tuples()
    values = loss.call(None, ops.convert_to_tensor(x))
    alone = [float(loss.call(None, ops.convert_to_tensor(x[i : i + 1]))[0]) for i in range(4)]
    assert values.shape == (4,)
    np.testing.assert_allclose(values, alone, rtol=1e-6)


def test_keras_reduces_to_the_mean_over_tuples_by_default() -> None:
    x = tuples()
    values = SARELoss().call(None, ops.convert_to_tensor(x)).numpy()
    assert float(SARELoss()(np.zeros(4), x)) == pytest.approx(values.mean(), rel=1e-6)
    assert float(SARELoss(reduction="sum")(np.zeros(4), x)) == pytest.approx(values.sum(), rel=1e-6)


def test_tuples_can_be_weighted() -> None:
    x = tuples()
    weights = np.array([0.0, 1.0, 2.0, 0.5])
    values = SARELoss().call(None, ops.convert_to_tensor(x)).numpy()
    weighted = SARELoss()(np.zeros(4), x, sample_weight=weights)
    assert float(weighted) == pytest.approx((values * weights).mean(), rel=1e-6)


@pytest.mark.parametrize(
    ("scale", "n", "mean"), [("tuple", 1, 1), ("divide_by_negatives", 3, 1), ("divide_by_pairs", 4, 3 / 4)]
)
def test_a_scale_divides_by_negatives_or_pairs_what_is_no_mean_over_them(scale: str, n: int, mean: float) -> None:
    x = np.concatenate([np.zeros((1, 4)), np.diag(np.sqrt([0.5, 0.6, 0.8, 0.4]))])[None]
    golden = [
        (SARELoss(scale=scale, dtype="float64"), 1.9431485647 / 3 * mean),
        (SARELoss(mode="joint", scale=scale, dtype="float64"), 1.3219762308 / n),
        (TripletLoss(scale=scale, dtype="float64"), 0.2 / n),
        (TripletLoss(0.1**0.5, squared=False, scale=scale, dtype="float64"), 0.2561747498 * 3 / n),
        (ContrastiveLoss(scale=scale, dtype="float64"), 0.2522811276 / n),
    ]
    for loss, value in golden:
        assert float(loss(np.zeros(1), x)) == pytest.approx(value, abs=1e-9)


def test_a_loss_is_the_same_after_a_round_trip(loss: TupleLoss) -> None:
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(copy) is type(loss)
    assert copy.get_config() == loss.get_config()
    assert copy.dtype == loss.dtype
    assert float(copy(np.zeros(4), tuples())) == float(loss(np.zeros(4), tuples()))


def test_a_compiled_model_learns_and_is_saved_with_its_loss(loss: TupleLoss, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((5, 5)), keras.layers.Dense(4)])
    model.compile(optimizer=keras.optimizers.SGD(0.05), loss=loss)
    history = model.fit(tuples(), np.zeros(4), epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    model.run_eagerly = loaded.run_eagerly = True  # To trace both again would show nothing more.
    assert loaded.evaluate(tuples(), np.zeros(4), verbose=0) == model.evaluate(tuples(), np.zeros(4), verbose=0)


@pytest.mark.parametrize("layer_dtype", ["mixed_float16", "mixed_bfloat16"])
def test_a_model_of_mixed_precision_learns(layer_dtype: str) -> None:
    model = keras.Sequential([keras.Input((5, 5)), keras.layers.Dense(4, dtype=layer_dtype)])
    model.compile(optimizer=keras.optimizers.SGD(0.05), loss=SARELoss())
    history = model.fit(tuples(), np.zeros(4), epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("same", [[0, 1], [0, 2], [1, 2], [0, 1, 2, 3]], ids=["q=p", "q=n", "p=n", "q=p=n=n"])
def test_coinciding_images_have_a_finite_gradient(
    makers: dict[str, Any], same: list[int], dtype: str, unit_tuples: Any, value_and_gradient: Any
) -> None:
    # One tuple for each gap: none, and gaps whose square is 0, denormal or far under 1 in float32.
    x = unit_tuples(4, 2)
    x[:, same] = np.multiply.outer([0.0, 1e-22, 1e-19, 1e-12], np.arange(len(same)))[..., None]
    losses = {name: make() for name, make in makers.items()}
    losses |= {f"case {i}": loss for i, loss in enumerate(CASES[len(LOSSES) :])}
    for name, loss in losses.items():
        values, gradient = value_and_gradient(loss, x.astype(dtype))
        assert np.isfinite(values).all(), name
        assert np.isfinite(gradient).all(), name
        assert np.abs(gradient).max() < STEEPEST.get(name, 10), name


def test_distances_are_squared_and_measured_from_the_query() -> None:
    x = tuples(dtype="float64") * 3
    naive = [[sum((t[0][k] - t[i][k]) ** 2 for k in range(5)) for i in range(1, 5)] for t in x]
    np.testing.assert_allclose(Distances().call(None, ops.convert_to_tensor(x)), naive, rtol=1e-12)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_precision_embeddings_are_computed_in_float32(loss: TupleLoss, half: str) -> None:
    x = ops.cast(tuples(), half)
    values = loss.call(None, x)
    assert values.dtype == tf.float32
    np.testing.assert_array_equal(values, loss.call(None, ops.cast(x, "float32")))
    assert float(loss(np.zeros(4), x)) == float(loss(np.zeros(4), ops.cast(x, "float32")))


def test_close_distances_stay_apart_in_half_precision() -> None:
    # 4.0 and 4.0009765625 are the same number in float16.
    x = ops.cast([[[0.0, 0.0], [2.0, 0.0], [2.0, 0.03125]]], "float16")
    np.testing.assert_array_equal(Distances().call(None, x), [[4.0, 4.0009765625]])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16", keras.DTypePolicy("mixed_bfloat16")])
def test_a_half_precision_dtype_is_raised_to_float32(dtype: Any) -> None:
    assert SARELoss(dtype=dtype).dtype == "float32"


@pytest.mark.usefixtures("float16_floatx")
def test_a_float16_floatx_is_raised_to_float32() -> None:
    assert SARELoss().dtype == "float32"
    assert SARELoss()(np.zeros(4), tuples()).dtype == tf.float32


def test_float64_stays_float64() -> None:
    x = tuples(dtype="float64")
    assert SARELoss().call(None, ops.convert_to_tensor(x)).dtype == tf.float64
    assert SARELoss(dtype="float64")(np.zeros(4), x).dtype == tf.float64


def test_the_number_of_negatives_may_be_unknown_when_traced() -> None:
    loss = SARELoss(mode="joint")
    traced = tf.function(
        loss.call, input_signature=[tf.TensorSpec([None]), tf.TensorSpec([None, None, 5])], autograph=False
    )
    for negatives in (1, 4):
        x = ops.convert_to_tensor(tuples(negatives=negatives))
        np.testing.assert_allclose(traced(tf.zeros(4), x), loss.call(None, x), rtol=1e-6)


@pytest.mark.parametrize("shape", [(4, 5), (4, 2, 5), (4, 1, 5), (2, 4, 5, 5)])
def test_what_is_no_batch_of_tuples_is_refused(loss: TupleLoss, shape: tuple[int, ...]) -> None:
    message = r"`y_pred` must .*\[batch, 2 \+ negatives, dim\].* Received: y_pred.shape=\(" + ", ".join(map(str, shape))
    with pytest.raises(ValueError, match=message):
        loss(np.zeros(shape[0]), np.zeros(shape, "float32"))


def test_an_unknown_scale_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match="`scale` must be one of tuple, .*divide_by_violators. Received: scale='batch'"
    ):
        TripletLoss(scale="batch")


def test_a_subclass_without_a_formula_says_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="TupleLoss must implement `from_distances`"):
        TupleLoss()(np.zeros(4), tuples())
