"""Memory goes back to the system when the server is idle."""

import ctypes
from pathlib import Path
from typing import Any

import pytest

from serving.models.memory import IDLE_SECONDS, Trimming, trim_memory

BLOCKS = 3000
BLOCK_BYTES = 32 * 1024
"""Too small for the allocator to ask the system for each."""


def test_memory_is_trimmed_once_after_each_time_of_activity(clock: Any) -> None:
    activity = [0, 0]
    trims = []
    trimming = Trimming(lambda: (activity[0], activity[1]), lambda: trims.append(clock.now), clock)

    def look(now: float, begun: int, under_way: int) -> None:
        clock.now = now
        activity[:] = [begun, under_way]
        trimming.look()

    look(IDLE_SECONDS, 0, 0)
    look(20, 1, 1)
    look(60, 1, 1)
    look(61, 1, 0)
    look(70, 1, 0)
    assert trims == []
    look(71, 1, 0)
    look(90, 1, 0)
    assert trims == [71]
    look(91, 2, 0)
    look(101, 2, 0)
    assert trims == [71, 101]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(
    not (hasattr(ctypes.CDLL(None), "malloc_trim") and Path("/proc/self/statm").exists()),
    reason="the allocator is not glibc's",
)
def test_trimming_gives_free_memory_back() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    blocks = [ctypes.c_void_p(libc.malloc(ctypes.c_size_t(BLOCK_BYTES))) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK_BYTES)
    # The last one keeps the heap from shrinking by itself.
    for block in blocks[:-1]:
        libc.free(block)
    before = resident_bytes()
    trim_memory()
    assert before - resident_bytes() > BLOCKS * BLOCK_BYTES / 2
    libc.free(blocks[-1])
