import warnings
from pathlib import Path

import numpy as np
import pytest

from keras_sare.whitening import warn_of_overlap


def _silent(fitted_on, evaluated_on):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return warn_of_overlap(fitted_on, evaluated_on)


def test_shared_images_are_counted_and_the_first_named():
    fitted = [f"train/{i}.jpg" for i in range(10)]
    evaluated = [f"test/{i}.jpg" for i in range(30)] + fitted[2:]

    message = (
        r"8 of the 38 images evaluated on \(21.1 %\) are among the 10 that whitening was fitted on.*training split "
        r"only.*The first: train/2.jpg, train/3.jpg, train/4.jpg, train/5.jpg, train/6.jpg, \.\.\.$"
    )
    with pytest.warns(UserWarning, match=message):
        assert warn_of_overlap(fitted, evaluated) == 8


def test_the_warning_points_at_the_caller():
    with pytest.warns(UserWarning, match="1 of the 1") as caught:
        warn_of_overlap([1], [1])
    assert caught[0].filename == __file__


@pytest.mark.parametrize("kind", [list, tuple, np.array, lambda x: np.array(x, np.dtypes.StringDType())])
def test_disjoint_images_are_silent(kind):
    assert _silent(kind(["a", "b"]), kind(["c", "d", "e"])) == 0


@pytest.mark.parametrize("other", [["b"], np.array(["b"]), np.array(["b"], np.dtypes.StringDType()), [Path("b")]])
def test_lists_arrays_and_paths_are_compared_with_one_another(other):
    with pytest.warns(UserWarning, match="1 of the 1 images.*The first: b$"):
        assert warn_of_overlap([Path("a"), Path("b")], other) == 1


def test_ids_may_be_anything_hashable():
    with pytest.warns(UserWarning, match=r"The first: \('walk', 2\)$"):
        warn_of_overlap([("walk", 1), ("walk", 2)], [("walk", 2), ("walk", 3)])
    with pytest.warns(UserWarning, match="The first: 4$"):
        warn_of_overlap(np.arange(5), np.arange(4, 9))


def test_nothing_evaluated_is_silent():
    assert _silent(["a"], []) == 0
    assert _silent(np.zeros((3, 2)), np.zeros((0, 2))) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_equal_descriptors_are_found(dtype):
    descriptors = np.random.default_rng(0).standard_normal((3000, 8)).astype(dtype)

    with pytest.warns(UserWarning, match="2 of the 1002 images.*The first: row 1000, row 1001$"):
        assert warn_of_overlap(descriptors[:2000], descriptors[[*range(2000, 3000), 7, 1999]]) == 2


def test_different_descriptors_are_silent():
    descriptors = np.random.default_rng(0).standard_normal((3000, 8))

    assert _silent(descriptors[:2000], descriptors[2000:]) == 0


def test_negative_zero_is_zero():
    with pytest.warns(UserWarning, match="1 of the 1"):
        warn_of_overlap(np.array([[0.0, 1.0]]), np.array([[-0.0, 1.0]]))


def test_a_memory_map_is_read_in_blocks(tmp_path):
    descriptors = np.random.default_rng(0).standard_normal((3000, 8), dtype=np.float32)
    descriptors.tofile(tmp_path / "x.f32")

    with pytest.warns(UserWarning, match="500 of the 500"):
        warn_of_overlap(np.memmap(tmp_path / "x.f32", np.float32, "r", shape=(3000, 8)), descriptors[-500:])


@pytest.mark.parametrize(
    ("fitted_on", "evaluated_on"), [(np.zeros((3, 2)), ["a"]), (["a"], np.zeros((3, 2))), (np.zeros((3, 2)),) * 2]
)
def test_names_and_descriptors_are_not_compared(fitted_on, evaluated_on):
    if len(evaluated_on) == len(fitted_on):
        evaluated_on = np.zeros((3, 4))
    with pytest.raises(ValueError, match=r"must both be \[n\] names or both \[n, D\] descriptors of one width"):
        warn_of_overlap(fitted_on, evaluated_on)


def test_paths_are_the_same_as_bytes_and_as_text():
    with pytest.warns(UserWarning, match="1 of the 2 images"):
        warn_of_overlap(np.array([b"a"]), np.array(["a", "b"]))
