import subprocess
import sys

import numpy as np
import pytest

from keras_sare.retrieval.memory_map import read_ahead, release_pages

SEARCH = """
import sys
from pathlib import Path
import numpy as np
from keras_sare.retrieval import nearest

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

database = np.load(sys.argv[1], mmap_mode="r")
queries = np.zeros((1, database.shape[1]), np.float32)
nearest(queries, database[:4096], 3)
before = peak()
nearest(queries, database, 3, block_rows=4096)
print(peak() - before)
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "rows.npy"
    np.lib.format.open_memmap(path, "w+", np.float32, (4, 1024))[:] = np.arange(4)[:, None]
    return path


def test_a_search_never_holds_more_of_a_mapped_file_than_a_block(tmp_path):
    path = tmp_path / "database.npy"
    np.lib.format.open_memmap(path, "w+", np.float32, (131072, 256)).flush()  # 128 MiB of zeros

    grown = subprocess.run([sys.executable, "-c", SEARCH, path], check=True, capture_output=True, text=True).stdout

    assert int(grown) < 16 * 1024  # KiB; a block is 4096


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_mapped_file_reads_the_same_afterwards_and_keeps_what_was_written(path, mode):
    array = np.load(path, mmap_mode=mode)
    if mode != "r":
        array[2] = 7
    expected = np.array(array)

    for one in (array, array[1:], np.asarray(array)[1:, :3]):
        release_pages(one)

    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("rows", [(0, 4), (1, 2), (3, 100), (4, 9), (2, 2)])
def test_rows_that_are_read_ahead_are_the_same(path, rows):
    array = np.load(path, mmap_mode="r")
    expected = np.array(array)

    for one in (array, array[1:], array[:, :3], expected):
        read_ahead(one, *rows)

    np.testing.assert_array_equal(array, expected)


def test_other_arrays_are_left_alone():
    array = np.arange(6).reshape(2, 3)

    release_pages(array)
    release_pages(array[1:])
    release_pages(np.frombuffer(b"abcd", np.uint8))

    np.testing.assert_array_equal(array, [[0, 1, 2], [3, 4, 5]])
