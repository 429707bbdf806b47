"""Queries per second, peak memory and floor of mining among thousands and among millions of descriptors.

    python benchmarks/mining.py --positions=pitts30k_test.mat                                     # ten thousand
    python benchmarks/mining.py --positions=pitts30k_test.mat --copies=1000 --folder=/disk        # ten million: 5 GB

`--positions` is a dbStruct file. Its database is laid out `--copies` times, side by side, so that ten million images
have the distances between neighbours that real ones have. Descriptors are generated: smooth functions of the position
(random Fourier features, alike within some 15 m) plus noise, so that the images around a query are its nearest: only
the spatial exclusion keeps them from being its negatives. They lie in a file (`--dtype`) that is dropped from the
system's cache before each run. Each way of mining runs in a process of its own, so that the peak memory is its own.

The floor of a run is the larger of two: its multiplications over the matrix rate of this machine, its bytes over the
disk's rate; both rates are measured in the same run. Random mining is given the arithmetic of its cheapest form, one
product for each pair of a query and a candidate, and the bytes of the file's pages that hold some query's candidates.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from keras_sare.datasets import Neighbours, neighbours_within, read_dbstruct
from keras_sare.mining import HardNegativeMiner
from keras_sare.retrieval.memory_map import release_pages

DATA = "descriptors.npy"
GIB = 2**30


def tiled(positions: np.ndarray, copies: int) -> np.ndarray:
    """Lays the positions, [N, 2] metres, out `copies` times in a square with 100 m between the copies."""
    side = int(np.ceil(np.sqrt(copies)))
    step = np.ptp(positions, axis=0) + 100
    corner = np.stack(np.divmod(np.arange(copies), side), axis=1) * step
    return ((positions - positions.min(axis=0))[None] + corner[:, None]).reshape(-1, 2)


class Describer:
    """Descriptors of positions.

    Args:
        features: numbers in a descriptor.
        noise: expected length of what is added to a unit vector.

    Attributes:
        block: positions that can be described at a time.
    """

    def __init__(self, features: int, noise: float = 0.5) -> None:
        random = np.random.default_rng(0)
        self.block = (1 << 24) // features
        self.frequencies = random.standard_normal((2, features), np.float32) / 15
        self.phases = random.uniform(0, 2 * np.pi, features).astype(np.float32)
        # One bank of noise, begun at another place for each block: drawing afresh would take longer than mining.
        self.noise = random.standard_normal((self.block + 256, features), np.float32) * noise / np.sqrt(features)

    def __call__(self, positions: np.ndarray, seed: int) -> np.ndarray:
        """Unit descriptors, float32 [N, features], of up to `block` positions."""
        rows = np.cos(positions.astype(np.float32) @ self.frequencies + self.phases)
        rows *= np.float32(np.sqrt(2 / self.phases.size))
        start = np.random.default_rng(seed).integers(256)
        rows += self.noise[start : start + len(rows)]
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def prepare(flags: argparse.Namespace, folder: Path) -> int:
    """Writes the descriptors, the queries and what lies near them; returns the number of database images."""
    dataset = read_dbstruct(flags.positions, ".")
    random = np.random.default_rng(1)
    database = tiled(dataset.database.positions, flags.copies)
    # Queries are database places, a few metres beside, with noise of their own.
    queries = database[random.choice(len(database), flags.queries, replace=False)] + random.normal(
        0, 3, (flags.queries, 2)
    )
    describer = Describer(flags.features)
    block = describer.block
    described = [describer(queries[i : i + block], 10**6 + i) for i in range(0, len(queries), block)]
    np.savez(folder / "queries.npz", descriptors=np.concatenate(described))
    for name, bounds in {"positives": (10, 1), "non_negatives": (25, 0)}.items():
        near = neighbours_within(queries, database, *bounds)
        np.savez(folder / f"{name}.npz", offsets=near.offsets, indices=near.indices)
    rows = np.lib.format.open_memmap(folder / DATA, "w+", flags.dtype, (len(database), flags.features))
    for start in range(0, len(database), block):
        rows[start : start + block] = describer(database[start : start + block], start)
        release_pages(rows)
    rows.flush()
    return len(database)


def near(folder: Path, name: str) -> Neighbours:
    """Reads one of the lists that `prepare` wrote."""
    with np.load(folder / f"{name}.npz") as arrays:
        return Neighbours(arrays["offsets"], arrays["indices"])


def forget(path: Path) -> None:
    """Drops a file from the system's cache."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def matrix_rate(queries: int, features: int) -> float:
    """Multiplications with additions a second of float32 matrix products of mining's shape; the best of five."""
    random = np.random.default_rng(0)
    left, right = (random.standard_normal((rows, features), np.float32) for rows in (queries, 4096))
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        left @ right.T
        seconds.append(time.perf_counter() - start)
    return queries * 4096 * features / min(seconds)


def disk_rate(path: Path) -> float:
    """Bytes a second of reading a file, at most 2 GiB of it, from its start."""
    forget(path)
    buffer = bytearray(1 << 23)
    read = 0
    start = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while read < 2 * GIB and (count := file.readinto(buffer)):
            read += count
    return read / (time.perf_counter() - start)


def peak_gib() -> float:
    """Of this process alone: `getrusage` starts a child with the peak of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


def measure(flags: argparse.Namespace) -> None:
    """Mines one window and prints what it took."""
    folder = Path(flags.folder)
    with np.load(folder / "queries.npz") as arrays:
        descriptors = arrays["descriptors"]
    database = np.load(folder / DATA, mmap_mode="r")
    positives = near(folder, "positives")
    excluded = near(folder, "non_negatives")
    miner = HardNegativeMiner(positives, excluded, len(database), mining=flags.only)
    queries = miner.trainable_queries
    start_peak = peak_gib()
    start = time.perf_counter()
    processor = time.process_time()
    mined = miner.mine(queries, descriptors[queries], database, epoch=1, memory_limit=flags.memory)
    result = {
        "queries": len(queries),
        "wall": time.perf_counter() - start,
        "processor": time.process_time() - processor,
    }
    result |= {"peak": peak_gib(), "begin": start_peak}
    result["margin"] = float(np.median(mined.margins))
    print(json.dumps(result))


def report(
    flags: argparse.Namespace, way: str, size: int, result: dict[str, float], rates: tuple[float, float]
) -> None:
    """Prints a row of the table."""
    pairs = result["queries"] * (min(1000, size) if way == "random" else size)
    row_bytes = flags.features * np.dtype(flags.dtype).itemsize
    # A page is read for each of its rows that is wanted, each with the same chance.
    wanted = 1 - np.exp(-pairs / size * max(1, 4096 / row_bytes))
    arithmetic = pairs * flags.features / rates[0]
    reading = wanted * size * row_bytes / rates[1]
    print(
        f"| {size} x {flags.features} {flags.dtype}, {way} | {result['queries']:.0f} | {result['wall']:.2f} "
        f"| {result['processor']:.2f} | {result['queries'] / result['wall']:.1f} | {arithmetic:.2f} | {reading:.2f} "
        f"| {result['wall'] / max(arithmetic, reading):.1f} | {result['peak']:.2f} | {result['begin']:.2f} "
        f"| {result['margin']:.3f} |",
        flush=True,
    )


def main() -> None:
    """Generates the descriptors, mines them in each way and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--positions", help="A dbStruct .mat file.")
    parser.add_argument("--copies", type=int, default=1, help="Of its database, side by side.")
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--queries", type=int, default=1000, help="In a window.")
    parser.add_argument("--dtype", choices=["float16", "float32"], default="float16")
    parser.add_argument("--ways", default="random,full", help="Which, in this order.")
    parser.add_argument("--memory", type=float, default=5e8, help="Bytes that a miner may hold of the database.")
    parser.add_argument("--folder", help="Where the descriptors are written; by default the temporary folder.")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.only:
        measure(flags)
        return
    with tempfile.TemporaryDirectory(dir=flags.folder) as name:
        folder = Path(name)
        size = prepare(flags, folder)
        rates = matrix_rate(flags.queries, flags.features), disk_rate(folder / DATA)
        print(f"Matrix rate {rates[0] / 1e9:.1f} G multiply-adds a second, disk {rates[1] / 1e9:.2f} GB a second")
        print(
            "| mining | queries | wall s | processor s | queries a second | floor: arithmetic s | floor: disk s "
            "| times the floor | peak GiB | before GiB | median margin |\n"
            "|---|---|---|---|---|---|---|---|---|---|---|",
            flush=True,
        )
        for way in flags.ways.split(","):
            forget(folder / DATA)
            command = [sys.executable, *sys.argv, "--only", way, "--folder", name]
            found = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            report(flags, way, size, json.loads(found), rates)


if __name__ == "__main__":
    main()
