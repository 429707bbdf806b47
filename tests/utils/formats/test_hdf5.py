from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from keras_sare.utils.formats.hdf5 import checked_dataset, checked_item, checked_reference, has_link, is_references


def compact(file: h5py.File, name: str, values: np.ndarray) -> None:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple(values.shape)
    dataset = h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(values.dtype), space, creation)
    dataset.write(space, space, values)


def test_data_sets_of_every_layout_are_opened(tmp_path: Path) -> None:
    values = np.zeros((300, 400))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["inner/plain"] = values
        file.create_dataset("gzip", data=values, compression="gzip", compression_opts=9, shuffle=True, fletcher32=True)
        file["scalar"] = 3.0
        file["empty"] = np.empty((0, 4))
        file["references"] = np.array([file["gzip"].ref], h5py.ref_dtype)
        compact(file, "compact", values[:1, :20])
    with h5py.File(tmp_path / "a.h5") as file:
        for name in ("/inner/plain", "gzip"):
            assert np.array_equal(checked_dataset(file, name)[()], values)
        assert np.array_equal(checked_dataset(file["inner"], "plain")[()], values)
        assert np.array_equal(checked_dataset(file, "compact")[()], values[:1, :20])
        assert checked_dataset(file, "scalar")[()] == 3
        assert checked_dataset(file, "empty").shape == (0, 4)
        references = checked_dataset(file, "references")
        assert is_references(references)
        assert not is_references(checked_dataset(file, "gzip"))
        assert np.array_equal(checked_reference(file, references[0])[()], values)
        assert isinstance(checked_item(file, "inner"), h5py.Group)
        assert has_link(file, "gzip")
        assert not has_link(file, "other")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((5,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (5,))
    file.create_virtual_dataset("x", layout)


def deflated_twice(file: h5py.File) -> None:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((100,))
    creation.set_deflate(9)
    creation.set_deflate(9)
    h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple((100,)), creation)


BAD: dict[str, Callable[[h5py.File], object]] = {
    "it has no 'x'": lambda file: file.create_group("y"),
    "'x' is a group where a data set is expected": lambda file: file.create_group("x"),
    "'x' is neither a group nor a data set": lambda file: file.__setitem__("x", np.dtype("f8")),
    "'x' is a link by name, perhaps to another file": lambda file: file.__setitem__("x", h5py.SoftLink("/y")),
    "'x' is a link by name.* only what lies here": lambda file: file.__setitem__("x", h5py.ExternalLink("b.h5", "/x")),
    "'/x' keeps its values in other files": lambda file: file.create_dataset("x", (9,), "u1", external=[("b", 0, 9)]),
    "'/x' keeps its values in other files; only": virtual,
    "'/x' holds values without a fixed size": lambda file: file.create_dataset("x", (2,), h5py.string_dtype()),
    "'/x' holds values without a .* size": lambda file: file.__setitem__("x", h5py.Empty("f8")),
    "'/x' has the filters .*1, 1.*; only gzip": deflated_twice,
    r"'/x' has the filters \[32000\]": lambda file: file.create_dataset("x", data=np.ones(9), compression="lzf"),
    "'/x' claims 1200000000 bytes, of which 0 are stored": lambda file: file.create_dataset("x", (150_000_000,), "f8"),
    "'/x' claims 800000000 bytes, of which 80 .*": lambda file: file.create_dataset(
        "x", (10_000_000, 10), "f8", chunks=(1, 10)
    ).__setitem__(0, 1.0),
}


@pytest.mark.parametrize("message", BAD)
def test_what_lies_elsewhere_or_claims_too_much_is_refused(tmp_path: Path, message: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        BAD[message](file)
    with h5py.File(tmp_path / "a.h5") as file, pytest.raises(ValueError, match=message):
        checked_dataset(file, "x")


def test_what_references_refer_to_is_checked_too(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        virtual(file)
        with pytest.raises(ValueError, match="'/x' keeps its values in other files"):
            checked_reference(file, file["x"].ref)


def test_links_in_the_middle_of_a_path_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["g/x"] = 1.0
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["g"] = h5py.ExternalLink(str(tmp_path / "b.h5"), "/g")
        assert file["g/x"][()] == 1
        with pytest.raises(ValueError, match="'g/x' is a link by name"):
            checked_dataset(file, "g/x")
