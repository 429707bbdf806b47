import datetime
import io
import os
import pickle
import struct
import subprocess
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from keras_sare.models.importers.formats.state_dict import StateDict
from keras_sare.models.importers.formats.torch_file import LEGACY_START, is_torch_file, read_torch, write_torch
from keras_sare.models.importers.formats.torch_pickle import CALLS, read_torch_pickle
from keras_sare.utils.formats.safe_pickle import MOST_STAND_INS, StandIn

DATA = Path(__file__).parents[3] / "data"
FILES = {name: DATA / f"torch_weights_{name}.pth" for name in ("zip", "legacy")}
"""Written by `torch.save`, see make_torch_weights_oracle.py."""

TABLE = np.arange(24, dtype="float32").reshape(4, 6)
TENSORS = {
    "transposed": TABLE.T,
    "row": TABLE[2],
    "column": TABLE[:, 1],
    "expanded": np.arange(3, dtype="float32")[None],
    "half": np.array([1.5, -2], "float16"),
    "bfloat16": np.array([1.5, -2], "float32"),
    "double": np.ones(2) / 3,
    "long": np.array([1, -2]),
    "bytes": np.array([1, 255], "uint8"),
    "flags": np.array([True, False]),
    "scalar": np.array(7),
    "empty": np.zeros((0, 3), "float32"),
    "parameter": np.full((2, 2), 0.5, "float32"),
}


def write_zip(path, pickled, **records):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, content in records.items():
            archive.writestr(f"archive/{name}", content)
    return path


def rewritten(path, change, target, compression=zipfile.ZIP_STORED):
    """Copies an archive record by record."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


def tensor(key="0", count=6, offset=0, size=(2, 3), stride=(3, 1)):
    """Opcodes of a float32 tensor."""

    def plain(value):
        return pickle.dumps(value, 2)[2:-1]

    storage = b"(" + plain("storage") + b"ctorch\nFloatStorage\n" + plain(key) + plain("cpu") + plain(count) + b"tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + plain(offset) + plain(size) + plain(stride) + b"\x89NtR"


# What torch wrote


@pytest.mark.parametrize("name", FILES)
def test_tensors_of_a_real_file_are_arrays(name):
    state = read_torch(FILES[name])["state_dict"]
    assert list(state) == list(TENSORS)
    for key, expected in TENSORS.items():
        assert isinstance(state[key], np.ndarray)
        assert state[key].dtype == expected.dtype, key
        np.testing.assert_array_equal(state[key], expected, strict=True)


@pytest.mark.parametrize("name", FILES)
def test_everything_else_of_a_real_file_is_plain_data(name):
    content = read_torch(FILES[name])
    assert content["epoch"] == 3
    assert content["recalls"] == {1: 0.25}
    assert content["size"] == (2, 3)
    assert content["device"] == "cuda:0"
    assert content["seen"] == {1, 2}
    assert content["optimizer"] == {"state": {0: {"step": 5}}, "param_groups": [{"lr": 0.001}]}
    np.testing.assert_array_equal(content["Lw"]["m"], np.arange(3.0)[:, None])
    np.testing.assert_array_equal(content["Lw"]["P"], np.arange(6, dtype="f4").reshape(2, 3))


@pytest.mark.parametrize("name", FILES)
def test_object_of_an_unknown_class_is_a_stand_in_that_keeps_the_name(name):
    namespace = read_torch(FILES[name])["args"]
    assert isinstance(namespace, StandIn)
    assert type(namespace).__name__ == "argparse.Namespace"
    assert not namespace


@pytest.mark.parametrize("name", FILES)
def test_tensors_look_into_the_file(name):
    state = read_torch(FILES[name])["state_dict"]
    assert np.shares_memory(state["transposed"], state["row"])
    assert not state["row"].flags.writeable
    base = state["row"]
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)


@pytest.mark.parametrize("name", FILES)
def test_no_array_of_a_file_can_be_written_to(name):
    content = read_torch(FILES[name])
    arrays = [*content["state_dict"].values(), *content["Lw"].values()]
    assert not any(array.flags.writeable for array in arrays)


def test_both_formats_are_told_from_other_files(tmp_path):
    (tmp_path / "text").write_text("weights")
    assert all(is_torch_file(path) for path in FILES.values())
    assert not is_torch_file(tmp_path / "text")


def test_big_endian_file_is_read(tmp_path):
    def swap(name, content):
        if name.endswith("byteorder"):
            return b"big"
        return np.frombuffer(content, "<f4").byteswap().tobytes() if "/data/" in name else content

    write_torch(tmp_path / "little.pth", {"table": TABLE})
    table = read_torch(rewritten(tmp_path / "little.pth", swap, tmp_path / "big.pth"))["table"]
    np.testing.assert_array_equal(table, TABLE)
    assert table.dtype.isnative


# What is written


def test_written_file_is_read_back(tmp_path):
    state = {"state_dict": TENSORS, "epoch": 3, "names": ["a", None, 2.5], "none": {}}
    write_torch(tmp_path / "state.pth", state)
    content = read_torch(tmp_path / "state.pth")
    assert {key: content[key] for key in ("epoch", "names", "none")} == {
        key: state[key] for key in ("epoch", "names", "none")
    }
    for key, expected in TENSORS.items():
        np.testing.assert_array_equal(content["state_dict"][key], expected, strict=True)


def test_same_state_gives_the_same_file_with_aligned_elements(tmp_path):
    for name in ("one.pth", "two.pth"):
        write_torch(tmp_path / name, {"a": TABLE, "b": TABLE[0]})
    written = (tmp_path / "one.pth").read_bytes()
    assert written == (tmp_path / "two.pth").read_bytes()
    assert written.index(TABLE.tobytes()) % 64 == 0


def test_array_that_torch_does_not_know_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`state` must hold arrays of float64, .* Received: an array of complex64"):
        write_torch(tmp_path / "state.pth", {"a": np.zeros(2, "complex64")})
    assert not list(tmp_path.iterdir())


@pytest.mark.backends
def test_torch_reads_what_is_written_and_the_other_way_round(tmp_path):
    import torch

    write_torch(tmp_path / "ours.pth", {"state_dict": TENSORS, "epoch": 3})
    content = torch.load(tmp_path / "ours.pth", weights_only=True)
    assert content["epoch"] == 3
    for key, expected in TENSORS.items():
        np.testing.assert_array_equal(content["state_dict"][key].numpy(), expected, strict=True)
    for zipped in (True, False):
        torch.save(content, tmp_path / "theirs.pth", _use_new_zipfile_serialization=zipped)
        state = read_torch(tmp_path / "theirs.pth")["state_dict"]
        for key, expected in TENSORS.items():
            np.testing.assert_array_equal(state[key], expected, strict=True)


# Files that want to run something


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.function = function
        self.arguments = arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "function",
    [os.system, os.popen, eval, exec, getattr, __import__, print, open, subprocess.Popen, pickle.loads, np.load],
    ids=lambda function: function.__name__,
)
def test_call_of_anything_but_the_table_is_refused_with_its_name(tmp_path, function, protocol):
    pickled = pickle.dumps({"state_dict": Calls(function, "touch stolen")}, protocol)
    name = function.__name__.lstrip("_").replace("Popen", "(Popen|_reconstructor)")
    with pytest.raises(ValueError, match=rf"wants to call [\w.]*{name}, which no file of weights needs; refused"):
        read_torch(write_zip(tmp_path / "evil.pth", pickled))


def test_nothing_is_run_even_while_refusing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps([Calls(os.system, "touch stolen"), Calls(exec, "open('stolen', 'w')")], 2)
    with pytest.raises(ValueError, match="refused"):
        read_torch(write_zip(tmp_path / "evil.pth", pickled))
    assert not Path("stolen").exists()


@pytest.mark.parametrize("place", ["version", "system", "content", "keys"])
def test_every_pickle_of_the_legacy_format_is_guarded(tmp_path, place):
    evil = Calls(os.system, "touch stolen")
    parts = {"version": 1001, "system": {}, "content": {}, "keys": []} | {place: evil}
    (tmp_path / "evil.pth").write_bytes(LEGACY_START + b"".join(pickle.dumps(part, 2) for part in parts.values()))
    with pytest.raises(ValueError, match="wants to call .*system"):
        read_torch(tmp_path / "evil.pth")


@pytest.mark.parametrize(
    "opcodes",
    [
        b"csubprocess\nPopen\n)\x81}X\x04\x00\x00\x00argsX\x04\x00\x00\x00evilsb",  # an object, then its state
        b"\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93",  # a dotted name, which pickle would walk
        b"cos\nsystem\n",  # named, and not called
    ],
)
def test_what_is_named_but_not_called_is_an_inert_stand_in(tmp_path, opcodes):
    content = read_torch(write_zip(tmp_path / "odd.pth", b"\x80\x04" + opcodes + b"."))
    assert isinstance(content, StandIn) or issubclass(content, StandIn)


@pytest.mark.parametrize(
    "opcodes", [b"}X\x01\x00\x00\x00aK\x01s", b"N}X\x01\x00\x00\x00aK\x01s\x86"], ids=["", "slots"]
)
@pytest.mark.parametrize(
    "target",
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ccollections\nOrderedDict\n",
        b"ctorch\nFloatStorage\n",
        b"cnumpy\ndtype\n",
        b"cos\nsystem\n",
    ],
)
def test_functions_and_types_cannot_be_altered(tmp_path, target, opcodes):
    before = dict(CALLS)
    with pytest.raises(ValueError, match="`path` must be a whole file of weights"):
        read_torch(write_zip(tmp_path / "evil.pth", b"\x80\x02" + target + opcodes + b"b."))
    assert before == CALLS
    assert not hasattr(StandIn, "a")


def test_numpy_array_of_objects_is_refused(tmp_path):
    array = np.array([{}, Calls(os.system, "touch stolen")], object)
    with pytest.raises(ValueError, match="type O8, which is not numbers or text|wants to call"):
        read_torch(write_zip(tmp_path / "evil.pth", pickle.dumps(array, 2)))


@pytest.mark.parametrize("shape", [(3,), (-1, -2), (2, "2")])
def test_numpy_array_whose_bytes_do_not_fill_its_shape_is_refused(tmp_path, shape):
    name = b"cnumpy._core.multiarray\n_reconstruct\n)R"
    dtype = b"cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R"
    state = shape
    opcodes = name + b"(K\x01" + pickle.dumps(state, 2)[2:-1] + dtype + b"\x89C\x10" + bytes(16) + b"tb."
    with pytest.raises(ValueError, match="do not fit its shape|shape is not a few numbers"):
        read_torch(write_zip(tmp_path / "evil.pth", b"\x80\x03" + opcodes))


def array(letter=b"A", size=8):
    """Opcodes that make an array of bytes, and those that set its elements."""
    state = b"(K\x01K%c\x85" % size + b"cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R\x89B" + struct.pack("<I", size)
    return b"cnumpy.core.multiarray\n_reconstruct\n)R", state + letter * size + b"tb"


def unmemoised(value):
    """Opcodes that push a value and remember nothing."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file, 2)
    pickler.fast = True
    pickler.dump(value)
    return file.getvalue()[2:-1]


FROM_MEMO = b"ctorch._utils\n_rebuild_tensor\n(h\x00K\x00K\x08\x85K\x01\x85tR"
STORAGE = tensor().split(b"(", 1)[1].split(b"Q")[0] + b"Q"
SET_FIRST = b"K\x00K\x5as"


def test_array_of_the_pickle_is_no_storage_of_a_tensor(tmp_path):
    # Else a tensor would look into memory that a second state of the array frees.
    new, state = array()
    with pytest.raises(ValueError, match="a tensor of something other than a storage, ndarray"):
        read_torch(write_zip(tmp_path / "evil.pth", b"\x80\x03" + new + state + b"q\x000" + FROM_MEMO + b"."))


def test_elements_of_an_array_are_set_once(tmp_path):
    new, state = array()
    np.testing.assert_array_equal(
        read_torch(write_zip(tmp_path / "good.pth", b"\x80\x03" + new + state + b".")), [65] * 8
    )
    for again in (state, array(size=0)[1]):
        with pytest.raises(ValueError, match="it sets the elements of a numpy array twice"):
            read_torch(write_zip(tmp_path / "evil.pth", b"\x80\x03" + new + state + again + b"."))
    with pytest.raises(ValueError, match="it sets the elements of a numpy array twice"):
        read_torch(write_zip(tmp_path / "evil.pth", b"\x80\x03" + new + array(size=0)[1] + state + b"."))


@pytest.mark.parametrize(
    "target",
    [
        tensor(size=(6,), stride=(1,)),
        b"".join(array()),
        b"".join(array(size=1)),
        STORAGE,
    ],
    ids=["tensor", "array", "array of one byte, which Python shares", "storage"],
)
def test_pickle_cannot_write_into_its_arrays(tmp_path, target):
    records = {"data/0": np.arange(6, dtype="f4").tobytes()}
    good = read_torch(write_zip(tmp_path / "good.pth", b"\x80\x03" + target + b".", **records))
    assert isinstance(good, np.ndarray)
    assert not good.flags.writeable
    with pytest.raises(ValueError, match="wants to fill a (ndarray|_Elements) like a dict"):
        read_torch(write_zip(tmp_path / "evil.pth", b"\x80\x03" + target + SET_FIRST + b".", **records))
    assert bytes([65]) == b"A"


def test_storage_that_is_not_of_the_file_is_not_written_to_either():
    pickled = io.BytesIO(b"\x80\x02" + STORAGE + SET_FIRST + b".")
    elements = np.zeros(6, "f4")
    with pytest.raises(ValueError, match="wants to fill a _Elements like a dict"):
        read_torch_pickle(pickled, lambda key, element, count: elements)
    assert not elements.any()
    assert not elements.flags.writeable


def test_functions_of_the_table_cannot_be_taken_out_of_it(tmp_path):
    # A call's arguments are any tuple; so what stands for a function must not be one.
    opcodes = b"ctorch._utils\n_rebuild_parameter\nctorch._utils\n_rebuild_tensor\nR."
    with pytest.raises(ValueError, match="`path` must be a whole file of weights"):
        read_torch(write_zip(tmp_path / "evil.pth", b"\x80\x02" + opcodes))


def test_tensor_that_repeats_its_storage_is_refused(tmp_path):
    # A few bytes would claim any amount of memory.
    records = {"data/0": bytes(4)}
    for size in ((2,), (2**30, 2**30)):
        pickled = b"\x80\x02" + tensor(count=1, size=size, stride=(0,) * len(size)) + b"."
        with pytest.raises(ValueError, match=r"repeats the 1 elements of its storage; .* save a `contiguous\(\)` one"):
            read_torch(write_zip(tmp_path / "bad.pth", pickled, **records))


@pytest.mark.parametrize(
    "call",
    [
        b"c__builtin__\nset\nh\x00\x85R",
        b"ccollections\nOrderedDict\nh\x01\x85R",
        b"c_codecs\nencode\nh\x02X\x06\x00\x00\x00latin1\x86R",
        array()[0] + b"(K\x01J\x40\x9c\x00\x00\x85cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R\x89h\x02tb",
    ],
    ids=["set", "dict", "text", "array"],
)
def test_copying_one_thing_over_and_over_is_refused(tmp_path, call):
    parts = [[*range(40000)], dict.fromkeys(range(40000)), "a" * 40000]
    memo = b"".join(unmemoised(part) + b"q%c0" % place for place, part in enumerate(parts))
    read_torch(write_zip(tmp_path / "good.pth", b"\x80\x02" + memo + b"]" + (call + b"a") * 2 + b"."))
    with pytest.raises(ValueError, match="it makes far more of its content than there is in the file"):
        read_torch(write_zip(tmp_path / "evil.pth", b"\x80\x02" + memo + b"]" + (call + b"a") * 1000 + b"."))


def test_many_large_tensors_are_no_copies(tmp_path):
    count = 2**20
    pickled = b"\x80\x02]" + (tensor(count=count, size=(count,), stride=(1,)) + b"a") * 8 + b"."
    tensors = read_torch(write_zip(tmp_path / "large.pth", pickled, **{"data/0": bytes(4 * count)}))
    assert [len(t) for t in tensors] == [count] * 8


def test_containers_are_not_made_of_arrays(tmp_path):
    pickled = b"\x80\x02c__builtin__\nset\n" + tensor(size=(6,), stride=(1,)) + b"\x85R."
    odd = write_zip(tmp_path / "odd.pth", pickled, **{"data/0": bytes(24)})
    with pytest.raises(ValueError, match="it makes a set of a ndarray"):
        read_torch(odd)


@pytest.mark.parametrize(
    "sizes", [b"(K\x01]t", b"(" + b"K\x01" * 65 + b"t", b"(J\xff\xff\xff\xfft", b"X\x01\x00\x00\x00a"]
)
def test_size_is_a_few_counts(tmp_path, sizes):
    with pytest.raises(ValueError, match=r"it holds a torch\.Size of something other than a few numbers"):
        read_torch(write_zip(tmp_path / "bad.pth", b"\x80\x02ctorch\nSize\n" + sizes + b"\x85R."))


@pytest.mark.parametrize("parts", [b"]\x85", b"K\x01\x85", b"X\x03\x00\x00\x00cpu]\x86"])
def test_device_is_a_name_and_a_number(tmp_path, parts):
    with pytest.raises(ValueError, match=r"it holds a torch\.device of something other than a name and a number"):
        read_torch(write_zip(tmp_path / "bad.pth", b"\x80\x02ctorch\ndevice\n" + parts + b"R."))


@pytest.mark.parametrize("value", [Path("run"), datetime.datetime(2020, 1, 1)], ids=["path", "date"])
def test_refusal_of_an_object_beside_the_weights_says_what_to_do(tmp_path, value):
    with pytest.raises(
        ValueError, match=r"wants to call .* load it in PyTorch and save the network's `state_dict\(\)` alone"
    ):
        read_torch(write_zip(tmp_path / "odd.pth", pickle.dumps({"state_dict": {}, "from": value}, 2)))


# Damaged files


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": (2, 4), "stride": (4, 1)},
        {"stride": (30, 1)},
        {"offset": 1},
        {"offset": -1},
        {"size": (2, -3)},
        {"stride": (3, -1)},
        {"size": (2,)},
        {"size": (2**62, 2**62), "stride": (2**62, 1)},
    ],
)
def test_tensor_outside_of_its_storage_is_refused(tmp_path, wrong):
    records = {"data/0": np.arange(6, dtype="f4").tobytes()}
    good = read_torch(write_zip(tmp_path / "good.pth", b"\x80\x02" + tensor() + b".", **records))
    np.testing.assert_array_equal(good, np.arange(6).reshape(2, 3))
    with pytest.raises(ValueError, match="tensor of shape"):
        read_torch(write_zip(tmp_path / "bad.pth", b"\x80\x02" + tensor(**wrong) + b".", **records))


@pytest.mark.parametrize("count", [7, 2**40, 2**80])
def test_storage_larger_than_its_record_is_refused(tmp_path, count):
    with pytest.raises(
        ValueError, match=f"a storage of {count} elements has only 24 bytes left; the file is truncated"
    ):
        read_torch(write_zip(tmp_path / "bad.pth", b"\x80\x02" + tensor(count=count) + b".", **{"data/0": bytes(24)}))


def test_pickle_that_asks_for_a_huge_memory_of_objects_takes_none(tmp_path):
    # Python's own makes room for as many objects as the largest number says: here 16 GiB.
    tracemalloc.start()
    assert read_torch(write_zip(tmp_path / "odd.pth", b"\x80\x02}r\xff\xff\xff\x7f.")) == {}
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_length_beyond_the_legacy_file_takes_no_memory(tmp_path):
    (tmp_path / "bad.pth").write_bytes(LEGACY_START + b"\x80\x04\x8e" + struct.pack("<Q", 2**33) + b"abc.")
    tracemalloc.start()
    with pytest.raises(ValueError, match="`path` must be a whole file of weights"):
        read_torch(tmp_path / "bad.pth")
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


NESTED = b"]q\x07" + b"".join(b"]q\x01(h\x07h\x07eq\x07" for _ in range(40))
"""Forty lists of twice the last: as text they would have 2 ** 40 elements."""


@pytest.mark.parametrize(
    "opcodes",
    [
        b"(h\x07h\x07h\x07h\x07h\x07tQ",
        STORAGE.replace(unmemoised("0"), b"h\x07", 1),
        tensor().replace(unmemoised((2, 3)), b"h\x07", 1),
        b"ctorch\nSize\nh\x07\x85R",
    ],
    ids=["reference", "key", "shape", "size"],
)
def test_text_of_lists_that_hold_one_another_is_never_made(tmp_path, opcodes):
    path = write_zip(tmp_path / "bad.pth", b"\x80\x02" + NESTED + opcodes + b".", **{"data/0": bytes(24)})
    with pytest.raises(ValueError, match=r"it refers to something unknown|shape \(list\)|torch\.Size of something"):
        read_torch(path)


@pytest.mark.parametrize("depth", [100_000])
def test_tuples_within_tuples_of_any_depth_are_no_key(tmp_path, depth):
    pickled = b"\x80\x02}" + b"(" * depth + b"t" * depth + b"K\x01s."
    with pytest.raises(ValueError, match="it has a tuple in a key"):
        read_torch(write_zip(tmp_path / "bad.pth", pickled))


def test_a_thousand_unknown_classes_are_enough(tmp_path):
    names = [b"cm\n%d\n" % i for i in range(MOST_STAND_INS + 1)]
    content = read_torch(write_zip(tmp_path / "good.pth", b"\x80\x02(" + b"".join(names[:-1] * 2) + b"t."))
    assert content[0] is content[MOST_STAND_INS]
    with pytest.raises(ValueError, match="it names more than 1000 unknown classes and functions"):
        read_torch(write_zip(tmp_path / "bad.pth", b"\x80\x02(" + b"".join(names) + b"t."))


def test_an_object_of_an_unknown_kind_keeps_what_is_under_keys_and_drops_the_rest(tmp_path):
    opcodes = b"cmodule\nOptions\n)\x81X\x01\x00\x00\x00aK\x01s" + b"K\x02a" + b"}X\x01\x00\x00\x00bK\x03sb"
    content = read_torch(write_zip(tmp_path / "odd.pth", b"\x80\x02" + opcodes + b"."))
    assert isinstance(content, StandIn)
    assert content == {"a": 1}


@pytest.mark.parametrize("name", FILES)
def test_truncated_file_is_refused_wherever_it_ends(tmp_path, name):
    whole = FILES[name].read_bytes()
    for size in [*range(len(LEGACY_START), len(whole), 101), len(whole) - 1]:
        (tmp_path / "cut.pth").write_bytes(whole[:size])
        with pytest.raises(ValueError, match="`path` must be a whole file of weights that `torch.save` wrote: "):
            read_torch(tmp_path / "cut.pth")


@pytest.mark.parametrize("name", FILES)
def test_damaged_file_is_read_or_refused_and_nothing_else_happens(tmp_path, name):
    random = np.random.RandomState(5)
    whole = FILES[name].read_bytes()
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[random.randint(len(LEGACY_START), len(whole))] = random.randint(256)
        (tmp_path / "damaged.pth").write_bytes(damaged)
        try:
            read_torch(tmp_path / "damaged.pth")
        except ValueError as error:
            assert "`path` must be a whole file" in str(error)  # noqa: PT017
            refused += 1
    assert 50 < refused < 280


def test_compressed_storage_is_refused(tmp_path):
    path = rewritten(FILES["zip"], lambda name, content: content, tmp_path / "packed.pth", zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="is compressed, which torch never does"):
        read_torch(path)


def test_program_and_whole_network_say_what_to_save_instead(tmp_path):
    with pytest.raises(ValueError, match=r"TorchScript program; save the network's `state_dict\(\)` instead"):
        read_torch(DATA / "torch_weights_program.pth")
    with pytest.raises(
        ValueError, match=r"not with a whole object, torch\.nn.*Linear: load .* save its `state_dict\(\)`"
    ):
        StateDict(read_torch(DATA / "torch_weights_network.pth"), "network.pth")
    opcodes = b"\x80\x02(X\x06\x00\x00\x00modulecmodel\nNet\nNNtQ."
    parts = [pickle.dumps(part, 2) for part in (1001, {})] + [opcodes, pickle.dumps([], 2)]
    (tmp_path / "network.pth").write_bytes(LEGACY_START + b"".join(parts))
    with pytest.raises(ValueError, match=r"a whole network with its code; save its `state_dict\(\)` instead"):
        read_torch(tmp_path / "network.pth")


def test_other_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="`path` must name an existing file. Received: path="):
        read_torch(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("weights")
    with pytest.raises(
        ValueError, match=r"`path` must be a file that `torch.save` wrote .* Received: path='/.*text\.pth'"
    ):
        read_torch(tmp_path / "text.pth")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(ValueError, match="the archive has no data.pkl; `keras.saving.load_model` reads the files"):
        read_torch(tmp_path / "other.zip")
