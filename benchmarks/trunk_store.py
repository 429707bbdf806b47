"""How fast the stored output of frozen layers is read, against a memory map of the same files and against the floor.

    python benchmarks/trunk_store.py --folder=runs

Rows are those of VGG16 below conv5_1 for 480 x 640 pixels (1.2 MB in float16). A gather is a training step's: 28 random
images. "cold" is after the operating system has been told to drop the files from memory; a virtual disk may still be
cached by its host. The floor is bytes over the rate of one long read of the disk, or of copying in memory, from the
same run. The readers take turns, and each rate is the best of several rounds: what else runs on the machine makes rates
smaller, never larger.
"""

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf
from machine import disk_rate, limit_threads, memory_rate

from keras_sare.extraction import StoredInputs
from keras_sare.extraction.inputs import Rows
from keras_sare.training.feature_store.chunk_files import ChunkFiles
from keras_sare.training.feature_store.feature_store import FILE_BYTES

ROW = (30, 40, 512)
ROW_BYTES = 2 * 30 * 40 * 512
IMAGES_OF_A_STEP = 28
STEPS = 12
BATCH = 8


class MemoryMaps:
    """The same files read through `np.memmap`."""

    def __init__(self, files: ChunkFiles) -> None:
        self.rows_per_file = files.rows_per_file
        self.shape = files.shape
        self.dtype = files.dtype
        self.maps = [np.load(files.path(i), mmap_mode="r") for i in range(len(files.sizes))]

    def __getitem__(self, ids: np.ndarray) -> np.ndarray:
        out = np.empty((len(ids), *self.shape[1:]), self.dtype)
        for position, row in enumerate(ids.tolist()):
            file, place = divmod(row, self.rows_per_file)
            out[position] = self.maps[file][place]
        return out


class Files:
    """As `FeatureStore` reads them."""

    def __init__(self, files: ChunkFiles) -> None:
        self.files = files
        self.shape = files.shape
        self.dtype = files.dtype

    def __getitem__(self, ids: np.ndarray) -> np.ndarray:
        return self.files.read(ids)


def write(files: ChunkFiles) -> float:
    """Writes half-zero rows, as after a ReLU, and returns bytes a second with the wait for the disk."""
    rng = np.random.default_rng(0)
    seconds = 0.0
    for number in range(len(files.sizes)):
        shape = (len(files.rows(number)), *ROW)
        values = np.maximum(rng.standard_normal(shape, np.float32), 0).astype(np.float16)
        seconds += measure(lambda number=number, values=values: files.write(number, values))
    return files.sizes.sum() / seconds


def drop(files: ChunkFiles) -> None:
    """Tells the operating system to forget the files."""
    for number in range(len(files.sizes)):
        descriptor = os.open(files.path(number), os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def measure(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def reading(rows: Rows, batches: list[np.ndarray], tensorflow: bool) -> Callable[[], None]:
    """What is measured: batches read one after the other, or by the input pipeline of a training step."""
    if not tensorflow:
        return lambda: exhaust(map(rows.__getitem__, batches))
    dataset = tf.data.Dataset.from_generator(lambda: batches, output_signature=tf.TensorSpec([None], tf.int64))
    return lambda: exhaust(dataset.map(StoredInputs(rows).gather).prefetch(2))


def exhaust(items: Iterable[object]) -> None:
    """Goes through a dataset."""
    for _ in items:
        pass


def main() -> None:
    """Writes a store, reads it in all ways and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="On the disk to be measured.")
    parser.add_argument("--images", type=int, default=832, help="Rows of the store.")
    parser.add_argument("--rounds", type=int, default=5, help="The best of so many is printed.")
    flags = parser.parse_args()
    limit_threads()
    flags.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=flags.folder) as folder:
        files = ChunkFiles(Path(folder), (flags.images, *ROW), "float16", FILE_BYTES // ROW_BYTES)
        print(f"{files.sizes.sum() / 1e9:.2f} GB in {len(files.sizes)} files; written at {write(files) / 1e6:.0f} MB/s")
        # A copy reads and writes.
        disk = disk_rate(flags.folder)
        memory = memory_rate() / 2
        print(f"floor: disk {disk / 1e6:.0f} MB/s, copy in memory {memory / 1e6:.0f} MB/s\n")
        rng = np.random.default_rng(1)
        orders = {
            "gather": lambda: [rng.choice(flags.images, IMAGES_OF_A_STEP, False) for _ in range(STEPS)],
            "sweep": lambda: np.split(np.arange(flags.images), range(BATCH, flags.images, BATCH)),
        }
        # Made anew for every round: the operating system does not forget what is mapped.
        readers = {"store": Files, "memory map": MemoryMaps, "store, to TensorFlow": Files}
        rates = {key: 0.0 for key in itertools.product(("cold", "warm"), orders, readers)}
        for _, (state, order, name) in itertools.product(range(flags.rounds), rates):
            batches = orders[order]()
            drop(files)
            if state == "warm":
                exhaust(map(files.read, batches))
            rate = (
                sum(map(len, batches))
                * ROW_BYTES
                / measure(reading(readers[name](files), batches, "TensorFlow" in name))
            )
            rates[state, order, name] = max(rates[state, order, name], rate)
        print("| state | reading | by | MB/s | ms an image | of the floor's rate |\n|---|---|---|---|---|---|")
        for (state, order, name), rate in rates.items():
            floor = disk if state == "cold" else memory
            print(
                f"| {state} | {order} | {name} | {rate / 1e6:.0f} | {1e3 * ROW_BYTES / rate:.2f} | {rate / floor:.2f} |"
            )


if __name__ == "__main__":
    main()
