import builtins
import collections
import itertools
import os
import pickle
import pickletools
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from keras_sare.utils.formats.plain_pickle import load_plain_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.fixture
def load(tmp_path):
    def load(contents):
        path = tmp_path / "contents.pkl"
        path.write_bytes(contents)
        return load_plain_pickle(path)

    return load


def same(ours, theirs):
    """Whether two structures are equal, types and dtypes included."""
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, np.ndarray):
        return ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
    if isinstance(ours, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(ours == theirs)


PLAIN = {
    "numbers": [0, -1, 255, 65536, -(2**31), 2**40, -(2**90), 10**400, 1.5, float("inf"), 1 + 2j, True, False, None],
    "text": ["", "abc", "quote ' \" \\ \n", "ü€😀", "a" * 300],
    "bytes": [b"", b"\x00\xff\n'", b"a" * 300],
    "containers": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [[[]]], {}, {1: {2: 3}}, {("a", 1): None}],
    "sets": [set(), {1, "a", (2, 3)}, frozenset(), frozenset({1, 2})],
}
ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    np.array(5),
    np.zeros((0, 3), np.float32),
    np.array([True, False]),
    np.array([1, 2**63], np.uint64),
    np.array([1 + 2j]),
    np.array([0.5], np.float16),
    np.array(["ab", "c€"]),
    np.array([b"ab", b"c"]),
    np.float32(1.5),
    np.int64(-7),
    np.bool_(True),
]


def test_plain_data_of_every_protocol_comes_back(load):
    for protocol, (name, data) in itertools.product(PROTOCOLS, PLAIN.items()):
        assert same(load(pickle.dumps(data, protocol)), data), f"{name}, protocol {protocol}"


def test_numpy_arrays_and_scalars_of_every_protocol_come_back(load):
    for protocol, array in itertools.product(PROTOCOLS, ARRAYS):
        found = load(pickle.dumps([array], protocol))
        assert same(found, [array]), f"{array.dtype}{array.shape}, protocol {protocol}"


def test_big_endian_numbers_keep_their_values(load):
    array = np.array([1, 256, -3], ">i4")

    for protocol in PROTOCOLS:
        assert load(pickle.dumps(array, protocol)).tolist() == array.tolist(), f"protocol {protocol}"


def test_an_object_that_occurs_twice_is_one_object(load):
    array = np.arange(3)
    one = [1]

    for protocol in PROTOCOLS:
        result = load(pickle.dumps({"a": array, "b": [one, one], "c": array}, protocol))
        assert result["a"] is result["c"], f"protocol {protocol}"
        assert result["b"][0] is result["b"][1], f"protocol {protocol}"


def test_arrays_cannot_be_written_to(load):
    with pytest.raises(ValueError, match="read-only"):
        load(pickle.dumps(np.arange(3)))[0] = 1


def test_an_ordered_dict_comes_as_a_dict(load):
    assert same(load(pickle.dumps(collections.OrderedDict(b=1, a=2))), {"b": 1, "a": 2})


def test_strings_of_python_2_become_text_by_latin_1(load):
    # pickle.dumps({'name': 'caf\xe9', 'long': 2**33}, 2) of Python 2.7
    contents = b"\x80\x02}q\x00(U\x04nameq\x01U\x04caf\xe9q\x02U\x04longq\x03\x8a\x05\x00\x00\x00\x00\x02u."

    assert load(contents) == {"name": "café", "long": 2**33}


def test_an_array_of_python_2_in_the_oldest_protocol_comes_back(load):
    # pickle.dumps(numpy.array([1, 255, -2], '<i2')) of Python 2.7
    contents = (
        b"cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\ntp4\nRp5\n(I1\n(I3\ntp6\n"
        b"cnumpy\ndtype\np7\n(S'i2'\np8\nI0\nI1\ntp9\nRp10\n(I3\nS'<'\np11\nNNNI-1\nI-1\nI0\ntp12\nbI00\n"
        b"S'\\x01\\x00\\xff\\x00\\xfe\\xff'\np13\ntp14\nb."
    )

    array = load(contents)

    assert array.dtype == np.int16
    assert array.tolist() == [1, 255, -2]


def test_python_itself_agrees_on_a_pickle_of_python_2(load):
    contents = b"(dp0\nS'ids'\np1\n(lp2\nL12345678901L\naI01\naF0.5\nasS'caf\\xe9'\np3\nVna\\u00efve\np4\ns."

    assert same(load(contents), pickle.loads(contents, encoding="latin1"))


class Reduced:
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


HOSTILE = {
    "os.system": (Reduced(os.system, "touch {}"), r"asks for (posix|nt|os)\.system"),
    "eval": (Reduced(eval, "open({!r}, 'w')"), r"asks for builtins\.eval"),
    "exec": (Reduced(exec, "open({!r}, 'w')"), r"asks for builtins\.exec"),
    "open": (Reduced(open, "{}", "w"), r"asks for (_io|io)\.open"),
    "subprocess": (Reduced(subprocess.Popen, ["touch", "{}"]), r"asks for (subprocess|commands)\.Popen"),
    "getattr": (Reduced(getattr, Reduced(__import__, "os"), "system"), r"asks for builtins\.(getattr|__import__)"),
    "numpy load": (Reduced(np.load, "{}"), r"asks for numpy"),
    "a path": (Path("x"), r"asks for pathlib"),
    "a class": (collections.Counter, r"asks for collections\.Counter"),
    "an array of objects": (np.array([os.system], object), r"asks for (posix|nt)\.system|type O8"),
    "an array of plain objects": (np.array([1, "a"], object), r"type O8"),
    "a record array": (np.zeros(2, [("a", "i4")]), r"type V4"),
    "dates": (np.zeros(2, "M8[s]"), r"type M8"),
    "a dtype": (np.dtype("f4"), r"holds the dtype float32"),
    "a dtype in a tuple": ([(np.dtype("f4"),)], r"holds the dtype float32"),
    "a masked array": (np.ma.masked_array([1, 2], [0, 1]), r"asks for numpy\.ma"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_plain_data_is_refused_by_name_and_not_run(load, tmp_path, monkeypatch, name):
    # Were one of them run, it would leave a file there.
    monkeypatch.chdir(tmp_path)
    content, message = HOSTILE[name]

    for protocol in (0, 2, 4, 5):
        with pytest.raises(ValueError, match=rf"`path` must be a pickle of plain data.*{message}"):
            load(pickle.dumps({"train": content}, protocol))

    assert [file.name for file in tmp_path.iterdir()] == ["contents.pkl"]


CRAFTED = {
    "system with arguments": (b"cos\nsystem\n(S'touch done'\ntR.", "asks for os.system"),
    "a name that is not called": (b"cos\nsystem\n.", "asks for os.system"),
    "a dotted name": (b"\x80\x04\x8c\x08builtins\x8c\x0bset.__new__\x93.", "asks for builtins.set.__new__"),
    "another module's set": (b"cmymodule\nset\n(tR.", "asks for mymodule.set"),
    "an old instance": (b"(S'touch done'\nios\nsystem\n.", "INST os system"),
    "a new instance": (b"\x80\x02cnumpy\nndarray\n(t\x81.", "NEWOBJ"),
    "a persistent id": (b"Pabc\n.", "PERSID abc"),
    "an extension": (b"\x80\x02\x82\x01.", "EXT1 1"),
    "a buffer from outside": (b"\x80\x05\x97.", "NEXT_BUFFER"),
    "a called number": (b"I1\n(tR.", "wants to call a int"),
    "a called list of arguments": (b"cnumpy\ndtype\n]R.", "wants to call a Named"),
    "a changed dict": (b"}(S'a'\nI1\nd(I1\ntb.", "wants to change a dict"),
    "a list filled as a dict": (b"](S'a'\nI1\nu.", "wants to fill a list like a dict"),
    "a numpy array filled as a list": (
        b"cnumpy.core.multiarray\n_reconstruct\n(tRI1\na.",
        "wants to fill a ndarray like a list",
    ),
    "numpy.ndarray itself": (b"cnumpy\nndarray\n((I1000000000\ntS'f8'\ntR.", "wants to call numpy.ndarray"),
    "a name among the data": (b"]cnumpy\nndarray\na.", "holds numpy.ndarray"),
    "text in an unusual encoding": (b"c_codecs\nencode\n(S'a'\nS'zip'\ntR.", "bytes in the encoding zip"),
    "bytes of a size": (b"c__builtin__\nbytes\n(I1000000000000\ntR.", "bytes with arguments"),
    "a set of an array": (
        b"c__builtin__\nset\n(cnumpy.core.multiarray\n_reconstruct\n(tRtR.",
        "makes a set of a ndarray",
    ),
    "a set of text": (b"c__builtin__\nset\n(S'abc'\ntR.", "makes a set of a str"),
    "a list as a key": (b"}(]I1\nu.", "has a list in a key"),
    "tuples within tuples as a key": (b"}((((tttI1\nu.", "has a tuple in a key"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_pickle_is_refused(load, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    contents, message = CRAFTED[name]

    with pytest.raises(ValueError, match=message):
        load(contents)

    assert not (tmp_path / "done").exists()


def array_of(shape, data, dtype="f8", times=1):
    """A pickle of an array whose shape and data need not agree; its state is set `times` times."""
    numbers = "".join(f"I{n}\n" for n in shape)
    state = f"(I1\n({numbers}tcnumpy\ndtype\n(S'{dtype}'\ntRI00\nS'{data}'\ntb"
    return f"cnumpy.core.multiarray\n_reconstruct\n(tR{state * times}.".encode()


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (array_of((10**12,), "a" * 8), "8 bytes, which do not fit its shape"),
        (array_of((2**62, 4), "a" * 8), "8 bytes, which do not fit its shape"),
        (array_of((-1,), "a" * 8), "shape is not a few numbers"),
        (array_of((1,) * 70, "a" * 8), "shape is not a few numbers"),
        (array_of((0, 2**62, 2**62), ""), "too big"),
        (array_of((2**31,) * 9 + (0,), ""), "cannot reshape"),
        (array_of((1,), "a" * 8, times=2), "sets the elements of a numpy array twice"),
        (array_of((1,), "a" * 8, dtype="O"), "type O"),
        (array_of((1,), "a" * 8, dtype="S0"), "type S0"),
        (array_of((2,), "a" * 8, dtype="U1"), "characters that do not exist"),
    ],
)
def test_an_array_whose_state_is_wrong_is_refused(load, contents, message):
    with pytest.raises(ValueError, match=message):
        load(contents)


def test_a_scalar_of_too_few_bytes_is_refused(load):
    with pytest.raises(ValueError, match="2 bytes, which do not fit"):
        load(b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'f8'\ntRS'ab'\ntR.")


def test_a_remembered_number_of_any_size_takes_no_memory(load):
    assert load(b"I1\nr" + struct.pack("<I", 2**32 - 1) + b"0j" + struct.pack("<I", 2**32 - 1) + b".") == 1


def test_a_length_beyond_the_file_takes_no_memory(load):
    with pytest.raises(ValueError, match="whole pickle"):
        load(b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc.")


def test_one_list_made_into_sets_over_and_over_is_refused(load):
    numbers = b"".join(b"K" + bytes([n % 256]) for n in range(50000))
    contents = b"\x80\x02](" + numbers + b"eq\x00" + b"0c__builtin__\nset\nh\x00\x85R" * 5000 + b"."

    with pytest.raises(ValueError, match="far more of its content than there is in the file"):
        load(contents)


def test_lists_that_hold_one_another_many_times_are_read_at_once(load):
    # Forty lists of twice the last: as text they would have 2 ** 40 elements.
    contents = b"\x80\x02]q\x00" + b"".join(b"]q\x01(h\x00h\x00eq\x00" for _ in range(40)) + b"."

    assert len(load(contents)) == 2


def test_text_of_such_lists_is_never_made_for_a_message(load):
    nested = b"\x80\x02]q\x00" + b"".join(b"]q\x01(h\x00h\x00eq\x00" for _ in range(40))

    with pytest.raises(ValueError, match=r"type \(list\)"):
        load(nested + b"cnumpy\ndtype\nh\x00\x85R.")


def test_lists_within_lists_of_any_depth_are_read(load):
    depth = 100_000
    result = load(b"]" * depth + b"a" * (depth - 1) + b".")

    for _ in range(depth - 1):
        (result,) = result
    assert result == []


@pytest.mark.parametrize(
    "contents",
    [b"", b"no pickle", b"\x80\x04", b"0.", b"(.", b"h\x05.", b"a.", b"I1\na.", b"S'abc\n.", b"}(I1\nu.", b"\xff"],
)
def test_a_damaged_file_is_refused_with_its_name(load, contents):
    with pytest.raises(ValueError, match=r"(whole pickle|plain data).*Received: path=.*contents\.pkl"):
        load(contents)


def test_no_part_of_a_pickle_is_taken_for_a_whole_one(load):
    for protocol in PROTOCOLS:
        contents = pickle.dumps({"imlist": ["a", "b"], "gnd": [{"ok": np.arange(3)}]}, protocol)
        for end in range(len(contents)):
            with pytest.raises(ValueError, match="`path` must be"):
                load(contents[:end])


def test_changed_bytes_do_nothing_worse_than_an_error(load):
    contents = bytearray(pickle.dumps({"imlist": ["a", "b"], "gnd": [{"ok": np.arange(3)}, {1, 2}]}, 2))
    random = np.random.RandomState(0)
    for _ in range(400):
        changed = contents.copy()
        changed[random.randint(len(changed))] = random.randint(256)
        try:
            load(bytes(changed))
        except ValueError as error:
            assert "`path` must be" in str(error)  # noqa: PT017  # either outcome is right, another error is not


def test_a_missing_file_is_an_error_of_its_own(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_plain_pickle(tmp_path / "none.pkl")


def test_python_would_run_what_is_refused_here(tmp_path, monkeypatch):
    # The counter-check: the hostile pickles above are real ones.
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Reduced(builtins.open, "done", "w"))).close()

    assert (tmp_path / "done").exists()


def test_the_public_ground_truth_of_real_photos_is_read(real_data):
    path = real_data / "kitay_gorod" / "gnd_kitay_gorod.pkl"

    assert {code.name for code, _, _ in pickletools.genops(path.read_bytes())}.isdisjoint({"GLOBAL", "STACK_GLOBAL"})
    assert same(load_plain_pickle(path), pickle.loads(path.read_bytes()))
