"""What strangers' files do to `export/localise.py`: one line that names the file, exit status 1, and no harm."""

import io
import pickle
import re
import shutil
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from export import localise
from export.converters.tflite import write_tflite
from export.source import Source
from keras_sare.utils.digests import path_digest

SIZE = (24, 32)


@pytest.fixture(scope="module")
def device(whitened_model, tmp_path_factory):
    """A folder with a model and a photo."""
    folder = tmp_path_factory.mktemp("device")
    write_tflite(Source(whitened_model, SIZE, "small_mac", "a test"), folder / "model.tflite")
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    return folder


@pytest.fixture
def arrays(device):
    """Of a sound index of three images."""
    descriptors = np.random.default_rng(1).normal(size=(3, 8))
    return {
        "descriptors": (descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)).astype(np.float16),
        "names": np.array(["hall", "stairs", "lift"]),
        "positions": np.arange(6.0).reshape(3, 2),
        "axes": np.array(["easting (m)", "northing (m)"]),
        "size": np.array(SIZE),
        "model": np.array(path_digest(device / "model.tflite")),
    }


def locate(device, index, model="model.tflite", photo="photo.png"):
    localise.main(str(device / model), str(index), str(device / photo))


@pytest.fixture
def refused(device, tmp_path):
    """Asks with an index and returns the one line that it ends in."""

    def refused(contents, **asked):
        index = tmp_path / "index.npz"
        index.write_bytes(contents)
        with pytest.raises(SystemExit) as ended:
            locate(device, index, **asked)
        text = str(ended.value)  # Text as the argument of SystemExit is printed, with exit status 1.
        assert text.isprintable()
        assert len(text) <= 500
        return text.replace(str(tmp_path), "").replace(str(device), "")

    return refused


def packed(arrays, write=np.savez):
    data = io.BytesIO()
    write(data, **arrays)
    return data.getvalue()


def npy(shape, dtype="<f2", data=b""):
    """A file of an array that declares its shape and holds other data."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def with_member(arrays, name, contents, compression=zipfile.ZIP_STORED):
    data = io.BytesIO(packed({key: value for key, value in arrays.items() if key != name}))
    with zipfile.ZipFile(data, "a", compression) as file:
        file.writestr(f"{name}.npy", contents)
    return data.getvalue()


def test_sound_index_is_read(device, arrays, tmp_path, capsys):
    (tmp_path / "index.npz").write_bytes(packed(arrays))
    locate(device, tmp_path / "index.npz")
    assert len(capsys.readouterr().out.splitlines()) == 3
    read = localise.read_index(tmp_path / "index.npz")
    assert all(np.array_equal(read[name], value) for name, value in arrays.items())


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"descriptors": None}, "descriptors missing"),
        ({"model": None, "size": None}, "size, model missing"),
        ({"names": np.array(["hall"])}, "shapes that do not go together"),
        ({"positions": np.zeros((3, 3))}, "shapes that do not go together"),
        ({"positions": np.zeros((2, 2))}, "shapes that do not go together"),
        ({"descriptors": np.zeros((0, 8), np.float16)}, "shapes that do not go together"),
        ({"descriptors": np.zeros(8, np.float16)}, "descriptors must not be of the type float16"),
        ({"descriptors": np.zeros((3, 8), np.int64)}, "descriptors must not be of the type int64"),
        ({"descriptors": np.full((3, 8), np.nan, np.float16)}, "not finite"),
        ({"names": np.arange(3)}, "names must not be of the type int64"),
        ({"names": np.array(["hall", "stairs", None], object)}, "names.npy does not hold what it says: object"),
        ({"size": np.array([0, 32])}, "size must be one or two numbers from 1 to 8192"),
        ({"size": np.array([10**6, 10**6])}, "size must be one or two numbers"),
        ({"size": np.arange(1, 1000)}, "size must be one or two numbers"),
        ({"model": np.array("0" * 64)}, "was made with another model"),
        ({"descriptors": np.ones((3, 9), np.float16)}, r"gives descriptors \(8,\)"),
    ],
)
def test_index_that_does_not_agree_with_itself_is_refused_with_the_reason(refused, arrays, changed, reason):
    told = {name: value for name, value in {**arrays, **changed}.items() if value is not None}
    text = refused(packed(told))
    assert re.search(reason, text), text


def test_what_an_index_pickles_is_not_run(refused, arrays, tmp_path):
    class Harm:
        def __reduce__(self):
            return open, (str(tmp_path / "harm"), "w")

    harm = npy((1,), "|O", pickle.dumps(np.array([Harm()], object)))
    for contents in (pickle.dumps(Harm()), with_member(arrays, "names", harm)):
        assert "it is no index that python -m export.index wrote" in refused(contents)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("shape", [(10**6, 10**6), (2**62, 4), (10**9, 1), (3, 2**70)])
def test_arrays_that_declare_more_than_they_hold_take_no_memory(refused, arrays, shape):
    tracemalloc.start()
    try:
        text = refused(with_member(arrays, "descriptors", npy(shape, data=bytes(48))))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert "descriptors.npy does not hold what it says" in text


def test_index_that_unpacks_to_more_than_its_file_is_not_unpacked(refused, arrays):
    bomb = with_member(arrays, "descriptors", npy((3, 2**24), data=bytes(3 * 2**25)), zipfile.ZIP_DEFLATED)
    assert len(bomb) < 200_000
    tracemalloc.start()
    try:
        assert "unpacks to more bytes than it has" in refused(bomb)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_cut_and_changed_files_never_end_in_a_traceback(device, arrays, tmp_path, capsys):
    sound = packed(arrays)
    index = tmp_path / "index.npz"
    rng = np.random.default_rng(4)
    broken = [sound[:length] for length in range(0, len(sound), 97)]
    for _ in range(150):
        changed = bytearray(sound)
        for place in rng.integers(0, len(sound), 3):
            changed[place] = rng.integers(256)
        broken.append(bytes(changed))
    refusals = []
    for contents in broken:
        index.write_bytes(contents)
        try:
            locate(device, index)
        except SystemExit as ended:
            refusals.append(str(ended))
    assert len(refusals) > 150
    assert all(text.isprintable() for text in refusals)
    assert capsys.readouterr().out.replace("\n", "").isprintable()


@pytest.mark.parametrize("contents", [b"", b"no zip", b"PK\x03\x04", b"\x93NUMPY\x01\x00", bytes(1000)])
def test_file_that_is_no_index_is_named(refused, contents):
    assert refused(contents).startswith("Cannot read /index.npz: it is no index that python -m export.index wrote")


def test_files_that_are_not_there_are_named(device, arrays, refused, tmp_path):
    with pytest.raises(SystemExit, match="Cannot read .*nowhere.npz: "):
        locate(device, tmp_path / "nowhere.npz")
    assert refused(packed(arrays), model="nowhere.tflite").startswith("Cannot read /nowhere.tflite: ")
    assert refused(packed(arrays), photo="nowhere.png").startswith("Cannot read /nowhere.png: ")


@pytest.mark.parametrize("contents", [b"", b"no model", b"\x1c\x00\x00\x00TFL3" + bytes(100)])
def test_model_that_is_none_is_named(device, arrays, refused, contents):
    (device / "broken.tflite").write_bytes(contents)
    arrays["model"] = np.array(path_digest(device / "broken.tflite"))
    assert refused(packed(arrays), model="broken.tflite").startswith("Cannot use /broken.tflite: ")


def test_photo_that_breaks_its_reader_is_named(device, arrays, refused, monkeypatch):
    for error in (SyntaxError("broken PNG"), ValueError("chunk"), Image.DecompressionBombError("too large")):

        def read(*_, error=error):
            raise error

        monkeypatch.setattr(localise, "read_photo", read)
        assert refused(packed(arrays)) == f"Cannot read /photo.png: {error}"


def test_names_cannot_command_the_terminal(device, arrays, tmp_path, capsys):
    arrays["names"] = np.array(["\x1b[2J\x1b]0;owned\x07", "two\nlines", "\u202egpj.exe"])
    arrays["axes"] = np.array(["\x1b[31m", "n" * 5000])
    (tmp_path / "index.npz").write_bytes(packed(arrays))
    locate(device, tmp_path / "index.npz")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() and len(line) < 1200 for line in lines)
    assert sum(r"\x1b[2J" in line for line in lines) == 1
    with pytest.raises(SystemExit) as ended:
        locate(device, tmp_path / "\x1b[2J.npz")
    assert str(ended.value).isprintable()


def test_program_ends_with_status_1_and_one_line(device, arrays, tmp_path):
    shutil.copy(localise.__file__, tmp_path)
    (tmp_path / "index.npz").write_bytes(packed({**arrays, "names": np.array(["hall"])}))
    command = [sys.executable, "localise.py", str(device / "model.tflite"), "index.npz", str(device / "photo.png")]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1
    (tmp_path / "index.npz").write_bytes(packed({**arrays, "names": np.array(["東京", "hall", "\udcff"])}))
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, env={"PYTHONIOENCODING": "ascii"}, check=False)
    assert found.returncode == 0
    assert rb"\u6771\u4eac" in found.stdout
