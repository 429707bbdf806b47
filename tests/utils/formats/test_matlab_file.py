import io
import runpy
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_matrix

from keras_sare.utils.formats.matlab_file import read_matlab
from keras_sare.utils.formats.matlab_objects import MatlabObject

WRITERS = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "data" / "matlab_writers.py")))

VALUES: dict[str, Any] = {
    "single": np.arange(24, dtype="f4").reshape(1, 2, 3, 4) / 7,
    "double": np.arange(6, dtype="f8").reshape(2, 3) - 0.5,
    "bytes": np.array([[1, 255]], "u1"),
    "yes": np.array([[True, False]]),
    "text": "conv1_1",
    "nothing": "",
    "empty": np.empty((0, 0)),
    "cells": ["relu", np.array([[2.0]]), ["inner"]],
    "no_cells": [],
    "struct": {"name": "pool1", "inner": {"pad": np.array([[0, 1, 0, 1]], "i4")}},
    "no_fields": {},
}


def as_cells(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: as_cells(part) for key, part in value.items()}
    if not isinstance(value, list):
        return value
    cells = np.empty((1, len(value)), object)
    cells[0] = [as_cells(part) for part in value]
    return cells


def write(path: Path, how: str, variables: dict[str, Any], table: Any = None) -> Path:
    if how == "v7.3":
        WRITERS.write_v73(path, variables, table)
    elif how in ("plain", "compressed"):
        savemat(path, as_cells(variables), do_compression=how == "compressed")
    else:
        WRITERS.write_v5(path, variables, table, "<" if how == "little" else ">")
    return path


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray):
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        assert np.array_equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("how", ["plain", "compressed", "v7.3"])
def test_every_kind_of_value_comes_back_in_every_version(tmp_path: Path, how: str) -> None:
    # SciPy has no struct without fields.
    variables = {key: value for key, value in VALUES.items() if how == "v7.3" or key != "no_fields"}
    assert_same(read_matlab(write(tmp_path / "a.mat", how, variables)), variables)


@pytest.mark.parametrize("how", ["little", "big"])
def test_both_byte_orders_are_read(tmp_path: Path, how: str) -> None:
    variables = {key: value for key, value in VALUES.items() if key != "yes"}
    assert_same(read_matlab(write(tmp_path / "a.mat", how, variables)), variables)


def test_only_wanted_variables_are_returned(tmp_path: Path) -> None:
    for how in ("plain", "v7.3"):
        path = write(tmp_path / f"{how}.mat", how, {"net": np.ones((1, 1)), "obj": np.zeros((1, 1))})
        assert read_matlab(path, ["net", "opts"]).keys() == {"net"}


def test_arrays_of_structs_complex_numbers_and_text_of_several_rows_are_read(tmp_path: Path) -> None:
    structs = np.array([[(1.0, "a"), (2.0, "b")]], [("id", object), ("info", object)])
    variables = {"structs": structs, "complex": np.array([[1 + 2j, 3 - 4j]]), "rows": np.array(["ab", "cd"])}
    savemat(tmp_path / "a.mat", {**variables, "sparse": csc_matrix(np.eye(2))})
    found = read_matlab(tmp_path / "a.mat")
    assert [entry["info"] for entry in found["structs"]] == ["a", "b"]
    assert found["structs"][1]["id"].item() == 2
    assert np.array_equal(found["complex"], variables["complex"])
    assert found["rows"] == ["ab", "cd"]
    assert found["sparse"] is None


def test_integers_that_are_stored_in_fewer_bytes_keep_their_class(tmp_path: Path) -> None:
    # MATLAB stores the doubles 1 and 2 as bytes; SciPy never writes so.
    data = bytearray(write(tmp_path / "a.mat", "little", {"x": np.array([[1, 2]], "u1")}).read_bytes())
    flags = data.index(WRITERS.V5_CLASSES["u1"], 128 + 16)
    data[flags] = WRITERS.V5_CLASSES["f8"]
    (tmp_path / "a.mat").write_bytes(data)
    assert_same(read_matlab(tmp_path / "a.mat"), {"x": np.array([[1.0, 2.0]])})


@pytest.mark.parametrize("how", ["little", "big", "v7.3"])
@pytest.mark.parametrize("version", [2, 4])
def test_objects_become_their_properties(tmp_path: Path, how: str, version: int) -> None:
    table = WRITERS.Table(">" if how == "big" else "<", version)
    weights = [np.ones((1, 1, 2, 3), "f4"), np.zeros((1, 1, 2, 3), "f4")]
    vlad = table.add("layerVLAD", {"type": "custom", "weights": weights}, saved=True)
    l2 = table.add("layerWholeL2Normalize", {"name": "postL2"}, {"type": "custom", "name": "wholeL2"})
    nested = table.add("pack.Outer", {"inner": l2, "list": [vlad]})
    layers = [{"type": "conv"}, vlad, l2, nested]
    found = read_matlab(write(tmp_path / "a.mat", how, {"net": {"layers": layers}}, table))["net"]["layers"]
    assert found[0] == {"type": "conv"}
    assert_same(found[1], {"type": "custom", "weights": weights})
    assert found[2] == {"type": "custom", "name": "postL2"}
    assert [layer.class_name for layer in found[1:]] == ["layerVLAD", "layerWholeL2Normalize", "pack.Outer"]
    assert isinstance(found[3], MatlabObject)
    assert found[3]["inner"]["name"] == "postL2"
    assert_same(found[3]["list"][0]["weights"], weights)


def words_of(shape: tuple[int, ...], texts: list[str | None], order: str) -> np.ndarray:
    """What MATLAB keeps of a string array: version, shape, characters of each (None is missing), UTF-16."""
    encoded = ["" if text is None else text for text in texts]
    lengths = [2**64 - 1 if text is None else len(text.encode("utf-16-le")) // 2 for text in texts]
    text = "".join(encoded).encode("utf-16-le" if order == "<" else "utf-16-be")
    characters = np.frombuffer(text + bytes(-len(text) % 8), f"{order}u8").astype("u8")
    return np.concatenate([np.array([1, len(shape), *shape, *lengths], "u8"), characters])[None]


@pytest.mark.parametrize("how", ["little", "big", "v7.3"])
def test_strings_of_matlabs_own_class_become_text(tmp_path: Path, how: str) -> None:
    order = ">" if how == "big" else "<"
    cases: dict[str, tuple[tuple[int, ...], list[str | None]]] = {
        "one": ((1, 1), ["images/Caf\u00e9 \U0001f5fc.jpg"]),
        "several": ((2, 2), ["a.jpg", "", None, "bb.jpg"]),
        "none": ((0, 1), []),
    }
    table = WRITERS.Table(order)
    variables = {
        name: {"text": table.add("string", {"any": words_of(shape, texts, order)})}
        for name, (shape, texts) in cases.items()
    }
    found = read_matlab(write(tmp_path / "a.mat", how, variables, table))
    assert found["one"]["text"] == cases["one"][1][0]
    assert found["several"]["text"] == ["a.jpg", "", "", "bb.jpg"]
    assert found["none"]["text"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([2, 2, 1, 1, 1, 97], "strings in an unknown form"),
        ([1], "strings in an unknown form"),
        ([1, 2**40, 2**60, 2**60], "strings in an unknown form"),
        ([1, 2, 2**40, 2**40, 5], "of which 0 are there"),
        ([1, 2, 1, 1, 2**50, 97], "1 strings of 1125899906842624 characters, of which 4 are there"),
    ],
)
def test_strings_that_claim_more_than_is_there_are_refused(tmp_path: Path, words: list[int], message: str) -> None:
    table = WRITERS.Table()
    variables = {"x": {"text": table.add("string", {"any": np.array([words], "u8")})}}
    with pytest.raises(ValueError, match=message):
        read_matlab(write(tmp_path / "a.mat", "little", variables, table))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`path` must name an existing file. Received: path='.*none.mat'"):
        read_matlab(tmp_path / "none.mat")


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"x": 1}, format="4")
    for content in (path.read_bytes(), b"", b"PK\x03\x04" * 100, b"MATLAB 7.3 MAT-file".ljust(126) + b"IM"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"whole MATLAB file of version 5 to 7.3 .* Received: path="):
            read_matlab(path)


def test_an_unknown_version_of_the_table_of_objects_is_refused(tmp_path: Path) -> None:
    table = WRITERS.Table(version=5)
    layer = table.add("layerVLAD", {"K": np.ones((1, 1))})
    with pytest.raises(ValueError, match="stored in version 5 of their table; 2 to 4 can be read"):
        read_matlab(write(tmp_path / "a.mat", "v7.3", {"net": [layer]}, table))


@pytest.mark.parametrize("how", ["plain", "compressed", "v7.3"])
def test_a_cut_file_is_an_error_wherever_it_is_cut(tmp_path: Path, how: str) -> None:
    path = write(tmp_path / "a.mat", how, {"net": {key: VALUES[key] for key in ("cells", "struct", "single")}})
    whole = path.read_bytes()
    for end in range(129, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"whole MATLAB file.* Received: path="):
            read_matlab(path)


@pytest.mark.parametrize("how", ["plain", "compressed", "little", "v7.3"])
def test_damaged_bytes_give_an_error_or_other_values_and_nothing_worse(tmp_path: Path, how: str) -> None:
    table = WRITERS.Table()
    net = {key: VALUES[key] for key in ("cells", "struct", "double")}
    if how in ("little", "v7.3"):
        net["layer"] = table.add("layerVLAD", {"name": "vlad:core"}, saved=True)
    whole = write(tmp_path / "a.mat", how, {"net": net}, table).read_bytes()
    random = np.random.RandomState(0)
    messages = []
    for _ in range(60):
        data = bytearray(whole)
        for position in random.randint(128, len(whole), 3):
            data[position] = random.randint(256)
        (tmp_path / "a.mat").write_bytes(data)
        try:
            read_matlab(tmp_path / "a.mat")
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 5
    assert all("Received: path=" in message for message in messages)


def test_compressed_variables_that_end_early_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    plain = io.BytesIO()
    savemat(plain, {"x": np.arange(1000.0)})
    packed = zlib.compress(plain.getvalue()[128:])[:-20]
    path.write_bytes(plain.getvalue()[:128] + np.array([15, len(packed)], "<u4").tobytes() + packed)
    with pytest.raises(ValueError, match="a compressed variable is cut"):
        read_matlab(path)


def packed(path: Path, content: bytes) -> Path:
    """A file of one compressed variable."""
    data = zlib.compress(content)
    path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\0\1IM" + np.array([15, len(data)], "<u4").tobytes() + data)
    return path


@contextmanager
def within(megabytes: float) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * 2**20
    finally:
        tracemalloc.stop()


def test_compressed_variables_inflate_no_further_than_they_say(tmp_path: Path) -> None:
    plain = io.BytesIO()
    savemat(plain, {"x": np.arange(10.0)})
    bomb = packed(tmp_path / "a.mat", plain.getvalue()[128:] + bytes(30_000_000))
    with within(megabytes=2):
        assert np.array_equal(read_matlab(bomb)["x"], [np.arange(10.0)])


@pytest.mark.parametrize("kind", [0, 9, 15])
def test_compressed_elements_that_are_no_variable_are_not_inflated(tmp_path: Path, kind: int) -> None:
    bomb = packed(tmp_path / "a.mat", np.array([kind, 30_000_000], "<u4").tobytes() + bytes(30_000_000))
    with within(megabytes=2), pytest.raises(ValueError, match=f"an element of type {kind} where a variable is exp"):
        read_matlab(bomb)


def test_empty_elements_in_a_variable_are_refused_one_by_one(tmp_path: Path) -> None:
    size = 8_000_000
    zeros = packed(tmp_path / "a.mat", np.array([14, size], "<u4").tobytes() + bytes(size))
    # A cell array says 6, 8: flags; 1; 5, 8: its shape; 1, 1: its name.
    head = np.array([6, 8, 1, 0, 5, 8, 1000, 1000, 1, 1, ord("x"), 0], "<u4").tobytes()
    cells = packed(tmp_path / "b.mat", np.array([14, size], "<u4").tobytes() + head + bytes(size - len(head)))
    for path, message in ((zeros, "type 0 where numbers are expected"), (cells, "type 0 where a variable is expected")):
        # The inflated bytes themselves, and room for them to grow.
        with within(megabytes=18), pytest.raises(ValueError, match=message):
            read_matlab(path)


def test_values_outlive_the_file_that_they_lie_in(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mat", "plain", {"x": np.arange(50_000.0)})
    with within(megabytes=0.3):
        found = read_matlab(path)["x"]
    path.unlink()
    assert np.array_equal(found, [np.arange(50_000.0)])


def nested_cells(path: Path, levels: int) -> Path:
    """Cells of ten references to the same cell each, and so on."""
    with h5py.File(path, "w") as file:
        inner = file.create_dataset("#refs#/a", data=np.ones((1, 1)))
        for i in range(levels):
            cells = file.create_dataset(f"#refs#/c{i}", (10, 1), h5py.ref_dtype)
            cells[...] = inner.ref
            cells.attrs["MATLAB_class"] = np.bytes_("cell")
            inner = cells
        file["net"] = file[f"#refs#/c{levels - 1}"]
    return path


def test_cells_that_many_cells_refer_to_are_read_once(tmp_path: Path) -> None:
    # Each time anew they would be 10 ** 50, and this would never end.
    found = read_matlab(nested_cells(tmp_path / "a.mat", 50))["net"]
    for _ in range(50):
        assert len(found) == 10
        found = found[9]
    assert found.item() == 1


def test_cells_that_hold_themselves_are_an_error(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.mat", "w") as file:
        cells = file.create_dataset("net", (1, 1), h5py.ref_dtype)
        cells[...] = cells.ref
    with pytest.raises(ValueError, match="whole MATLAB file; it cannot be read: RecursionError"):
        read_matlab(tmp_path / "a.mat")


def test_objects_that_many_objects_hold_are_made_once(tmp_path: Path) -> None:
    table = WRITERS.Table()
    layer = table.add("Leaf", {"name": "leaf"})
    for _ in range(30):
        layer = table.add("Node", {"parts": [layer] * 10})
    found = read_matlab(write(tmp_path / "a.mat", "little", {"net": layer}, table))["net"]
    for _ in range(30):
        assert found.class_name == "Node"
        found = found["parts"][9]
    assert found == {"name": "leaf"}


def test_more_references_than_anyone_saves_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.mat", "w") as file:
        cells = file.create_dataset("net", (1001, 1000), h5py.ref_dtype, compression="gzip")
        cells[...] = np.full(cells.shape, cells.ref)
    with pytest.raises(ValueError, match="cells of more than 1000000 values"):
        read_matlab(tmp_path / "a.mat")


def test_values_in_other_files_and_values_that_are_not_stored_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "b.mat", "w") as file:
        file["x"] = np.ones((1, 1))
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["linked"] = h5py.ExternalLink(str(tmp_path / "b.mat"), "/x")
        file["struct/linked"] = h5py.SoftLink("/linked")
        file.create_dataset("external", (9,), "u1", external=[(str(tmp_path / "b.mat"), 0, 9)])
        file.create_dataset("nothing", (150_000_000,), "f8", chunks=(1_000_000,))
    for name, message in (
        ("linked", "'linked' is a link by name"),
        ("struct", "'linked' is a link by name"),
        ("external", "'/external' keeps its values in other files"),
        ("nothing", "'/nothing' claims 1200000000 bytes, of which 0 are stored"),
    ):
        with pytest.raises(ValueError, match=f"whole MATLAB file; .*{message}.* Received: path="):
            read_matlab(tmp_path / "a.mat", [name])
