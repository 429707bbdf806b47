import io

import numpy as np
import pytest

from keras_sare.models.importers.formats.state_dict import StateDict
from keras_sare.models.importers.formats.torch_pickle import read_torch_pickle


def state_of(**arrays):
    return StateDict(arrays, "weights.pth")


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", None])
def test_state_dict_is_found_in_a_checkpoint_and_alone(wrapper):
    arrays = {"a": np.zeros(2, "float32")}
    state = StateDict(arrays if wrapper is None else {"epoch": 3, wrapper: arrays}, "weights.pth")
    assert "a" in state
    assert state.meta == ({} if wrapper is None else {"epoch": 3})


def test_words_of_data_parallel_are_dropped_wherever_they_stand():
    state = state_of(**{"module.encoder.0.weight": np.ones(1), "pool.module.centroids": np.ones(1)})
    assert "encoder.0.weight" in state
    assert "pool.centroids" in state


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_arrays_are_taken_as_float32(dtype):
    state = state_of(a=np.full((2, 3), 0.5, dtype))
    assert state.shape("a") == (2, 3)
    taken = state.take("a", 2, None)
    np.testing.assert_array_equal(taken, np.full((2, 3), 0.5, "float32"), strict=True)
    assert state.shape("a") is None
    state.finish()


def test_what_is_dropped_need_not_be_taken():
    state = state_of(**{"classifier.0.weight": np.ones(1), "classifier.0.bias": np.ones(1)})
    assert state.has("classifier.")
    state.drop("classifier.")
    state.finish()


def test_missing_array_is_named_with_what_there_is():
    with pytest.raises(
        ValueError, match=r"with 'b', which it does not have .* 1 arrays: a \(2,\)\. Received: path='we"
    ):
        state_of(a=np.ones(2)).take("b", 2)


@pytest.mark.parametrize("shape", [(2,), (3, 2), (2, 3, 1)])
def test_odd_shape_is_named(shape):
    with pytest.raises(ValueError, match=r"whose 'a' has the shape \(2, any\)\. Received: shape=\("):
        state_of(a=np.ones(shape)).take("a", 2, None)


def test_left_over_arrays_are_named():
    with pytest.raises(
        ValueError, match=r"this one has more. Not taken yet, 12 arrays: a0 \(1,\), .*a7 \(1,\), \.\.\."
    ):
        state_of(**{f"a{i}": np.ones(1) for i in range(12)}).finish()


def test_content_without_a_state_dict_is_refused():
    with pytest.raises(ValueError, match="with a state dict, not with a list"):
        StateDict([], "weights.pth")
    with pytest.raises(ValueError, match=r"it holds no tensor under \['epoch'\]"):
        StateDict({"epoch": 3}, "weights.pth")


def test_names_that_differ_by_module_only_are_refused():
    with pytest.raises(ValueError, match="it has two called 'a.weight', with and without 'module'. Received: path='w"):
        state_of(**{"a.weight": np.ones(1), "module.a.weight": np.zeros(1)})


def test_whole_network_in_place_of_the_state_dict_is_named():
    network = read_torch_pickle(io.BytesIO(b"cmodel\nNet\n)\x81."), lambda *_: np.zeros(0))
    for content in (network, {"epoch": 3, "state_dict": network}):
        with pytest.raises(ValueError, match=r"not with a whole object, model\.Net: .* save its `state_dict\(\)`"):
            StateDict(content, "weights.pth")
