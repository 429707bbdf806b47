"""A matrix stored in half precision, through both ways of loading."""

import gc

import numpy as np
import pytest
import tensorflow as tf

from export.quantisation.half_storage import HalfStored


def matrix(seed=0):
    return np.random.default_rng(seed).normal(size=(40, 8)).astype("float32")


def save(folder, values, dtype):
    module = tf.Module()
    module.half = HalfStored(tf.Variable(values), dtype)

    @tf.function(input_signature=[tf.TensorSpec([None, 40], tf.float32, name="x")])
    def product(x):
        return {"y": tf.matmul(x, module.half())}

    tf.saved_model.save(module, str(folder), signatures={"serving_default": product})
    return module


def eager(folder):
    model = tf.saved_model.load(str(folder))
    return lambda x: model.signatures["serving_default"](x=tf.constant(x))["y"].numpy()


def rounded(values, dtype):
    return tf.cast(tf.cast(values, dtype), tf.float32).numpy()


@pytest.fixture
def x():
    return np.random.default_rng(5).normal(size=(3, 40)).astype("float32")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_rounded_matrix_is_used_before_and_after_storing(tmp_path, x, dtype):
    module = save(tmp_path / "1", matrix(), dtype)
    np.testing.assert_array_equal(module.half(), rounded(matrix(), dtype))
    np.testing.assert_allclose(eager(tmp_path / "1")(x), x @ rounded(matrix(), dtype), rtol=1e-5, atol=1e-6)
    assert np.abs(rounded(matrix(), dtype) - matrix()).max() > 0


def test_a_session_as_of_a_server_uses_it_too(tmp_path, x):
    save(tmp_path / "1", matrix(), "float16")
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        bundle = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path / "1"))
        signature = bundle.signature_def["serving_default"]
        y = session.run(signature.outputs["y"].name, {signature.inputs["x"].name: x})
    np.testing.assert_allclose(y, x @ rounded(matrix(), "float16"), rtol=1e-5, atol=1e-6)


def test_two_bytes_are_stored_for_each_entry(tmp_path):
    save(tmp_path / "1", matrix(), "float16")
    stored = sum(path.stat().st_size for path in (tmp_path / "1" / "variables").glob("variables.data*"))
    assert 2 * 40 * 8 <= stored < 2 * 40 * 8 + 1024
    checkpoint = tf.train.load_checkpoint(str(tmp_path / "1" / "variables" / "variables"))
    assert tf.float16 in checkpoint.get_variable_to_dtype_map().values()


def test_the_cast_is_not_a_part_of_a_call(tmp_path):
    save(tmp_path / "1", matrix(), "float16")
    model = tf.saved_model.load(str(tmp_path / "1"))
    graph = model.signatures["serving_default"].graph.as_graph_def()
    operations = {node.op for function in graph.library.function for node in function.node_def}
    assert "MatMul" in operations
    assert "Cast" not in operations


def test_models_loaded_side_by_side_keep_their_own_matrices(tmp_path, x):
    for seed in (1, 2):
        save(tmp_path / str(seed), matrix(seed), "float16")
    models = [eager(tmp_path / version) for version in ("1", "2", "1")]
    del models[0]
    gc.collect()
    np.testing.assert_allclose(models[0](x), x @ rounded(matrix(2), "float16"), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(models[1](x), x @ rounded(matrix(1), "float16"), rtol=1e-5, atol=1e-6)


def test_entries_beyond_float16_are_refused_and_bfloat16_takes_them():
    values = tf.Variable([[1.0, -70000.0]])
    with pytest.raises(ValueError, match=r"choose bfloat16. Received: dtype='float16', an entry of magnitude 7e\+04"):
        HalfStored(values, "float16")
    np.testing.assert_allclose(HalfStored(values, "bfloat16")(), values.numpy(), rtol=2**-8)


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ValueError, match="`dtype` must be one of float16, bfloat16. Received: dtype='int8'"):
        HalfStored(tf.Variable([[1.0]]), "int8")
