import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from keras_sare.training.feature_store.chunk_files import OPEN_FILES, ChunkFiles

SHAPE = (11, 2, 3)
ROWS = 4


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=SHAPE).astype("float32")


@pytest.fixture
def make_files(tmp_path):
    def make(dtype="float32", shape=SHAPE, rows=ROWS, labels=None):
        return ChunkFiles(tmp_path / "array", shape, dtype, rows, labels)

    return make


def fill(files, values, numbers=(0, 1, 2)):
    for number in numbers:
        files.write(number, values[files.rows(number)])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_rows_come_back_in_any_order_and_more_than_once(make_files, values, dtype):
    files = make_files(dtype)
    fill(files, values)
    ids = np.array([10, 0, 3, 4, 0, 9])
    read = make_files(dtype).read(ids)
    assert read.dtype == tf.as_dtype(dtype).as_numpy_dtype
    np.testing.assert_array_equal(read, values.astype(read.dtype)[ids])


def test_files_are_plain_numpy_files(make_files, values, tmp_path):
    fill(make_files("float16"), values)
    np.testing.assert_array_equal(np.load(tmp_path / "array" / "maps-00002.npy"), values[8:].astype("float16"))


def test_bfloat16_is_stored_as_its_bits(make_files, values, tmp_path):
    fill(make_files("bfloat16"), values)
    bits = np.load(tmp_path / "array" / "maps-00000.npy")
    assert bits.dtype == np.uint16
    np.testing.assert_array_equal(bits, values[:4].astype(tf.bfloat16.as_numpy_dtype).view(np.uint16))


def test_sizes_are_known_before_anything_is_written(make_files, values, tmp_path):
    files = make_files()
    assert not files.present.any()
    assert not (tmp_path / "array").exists()
    fill(files, values)
    assert [(tmp_path / "array" / f"maps-0000{i}.npy").stat().st_size for i in range(3)] == files.sizes.tolist()


def test_files_are_present_once_written_and_others_are_found_by_a_scan(make_files, values):
    files = make_files()
    other = make_files()
    fill(files, values, [1])
    assert files.present.tolist() == [False, True, False]
    assert other.present.tolist() == [False, False, False]
    assert other.scan().tolist() == [False, True, False]


def test_arrays_of_other_labels_share_a_folder(make_files, values):
    files = make_files(labels=["a-1", "b-1", "c-1"])
    other = make_files(labels=["a-1", "b-2", "d-1"])
    fill(files, values)
    assert other.scan().tolist() == [True, False, False]
    fill(other, -values, [1])
    np.testing.assert_array_equal(files.read(np.arange(11)), values)
    np.testing.assert_array_equal(other.read(np.array([0, 5])), [values[0], -values[5]])


class Vanishing:
    """Entries of a folder that are gone before they are looked at."""

    def __init__(self, real, names):
        self.real = real
        self.names = names

    def __enter__(self):
        with self.real as entries:
            return iter([*entries, *map(self.entry, self.names)])

    def __exit__(self, *_):
        pass

    @staticmethod
    def entry(name):
        def stat():
            raise FileNotFoundError(name)

        return SimpleNamespace(name=name, stat=stat)


def test_files_that_another_program_removes_meanwhile_do_not_disturb(make_files, values, monkeypatch, tmp_path):
    files = make_files()
    scandir = os.scandir
    stat = Path.stat
    fill(files, values)
    gone = [".12345678.partial.maps-00001.npy", "maps-00009.npy"]
    monkeypatch.setattr(
        "keras_sare.training.feature_store.chunk_files.os.scandir", lambda path: Vanishing(scandir(path), gone)
    )
    assert files.scan().all()
    monkeypatch.undo()

    (tmp_path / "array" / gone[0]).touch()

    def vanished(path, **options):
        if path.name == gone[0]:
            path.unlink()
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", vanished)
    files.remove_dead()
    assert files.scan().all()


def test_file_that_is_cut_short_is_not_present_and_never_read(make_files, values, tmp_path):
    files = make_files()
    fill(files, values)
    path = tmp_path / "array" / "maps-00001.npy"
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(OSError, match="maps-00001.npy is damaged. Delete it"):
        files.read(np.array([0, 7]))
    assert files.scan().tolist() == [True, False, True]


def test_file_that_is_gone_is_named(make_files, values, tmp_path):
    files = make_files()
    fill(files, values)
    (tmp_path / "array" / "maps-00001.npy").unlink()
    with pytest.raises(FileNotFoundError, match="maps-00001.npy"):
        files.read(np.array([4]))


def test_open_files_are_bounded_and_closed_at_the_end(make_files):
    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    count = OPEN_FILES + 20
    before = descriptors()
    files = make_files(shape=(count, 1), rows=1)
    for number in range(count):
        files.write(number, np.full((1, 1), number, "float32"))
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(count), 5))
    np.testing.assert_array_equal(files.read(order)[:, 0], order)
    assert descriptors() <= before + OPEN_FILES
    del files
    assert descriptors() <= before


def test_full_disk_is_told_and_leaves_nothing(make_files, values, monkeypatch, tmp_path):
    def full(_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="Cannot write .*maps-00000.npy: No space left.*Make room") as caught:
        fill(make_files(), values)
    assert caught.value.errno == errno.ENOSPC
    assert list((tmp_path / "array").iterdir()) == []


def test_only_what_was_half_written_long_ago_is_removed(make_files, values, tmp_path):
    files = make_files()
    fill(files, values)
    dead, written_now = (tmp_path / "array" / f".{i}2345678.partial.maps-00001.npy" for i in range(2))
    for path in (dead, written_now):
        path.touch()
    os.utime(dead, (time.time() - 7200,) * 2)
    files.remove_dead()
    assert not dead.exists()
    assert written_now.exists()
    assert files.scan().all()


@pytest.mark.slow
def test_kill_in_the_middle_of_writing_leaves_whole_files_only(make_files, tmp_path):
    script = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from keras_sare.training.feature_store.chunk_files import ChunkFiles\n"
        "files = ChunkFiles(Path(sys.argv[1]), (400, 50000), 'float32', 4)\n"
        "for i in range(100): files.write(i, np.full((4, 50000), i, 'float32')), print(i, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path / "array"], stdout=subprocess.PIPE) as process:
        for _ in range(3):
            process.stdout.readline()
        process.kill()
    files = make_files(shape=(400, 50000))
    written = np.flatnonzero(files.present)
    assert 3 <= len(written) < 100
    np.testing.assert_array_equal(files.read(4 * written)[:, 0], written)
