"""The search of Tokyo 24/7's evaluation against a plain faiss flat index: seconds and peak memory, same results.

    python benchmarks/search.py --folder=/disk                    # 75984 x 4096 descriptors in a file: 1.2 GB
    python benchmarks/search.py --folder=/disk --features=512 --trials=5

315 queries look for 100 images among 75 984 in a file that is mapped into memory, each panorama of 12 counted once. The
plain way reads the file, adds all of it to an `IndexFlatL2`, asks for 1200 neighbours and keeps the first of each
panorama in a loop, as published code does. Each run is a process of its own, so that the peak memory is its own; the
two take turns, and the file is dropped from the system's cache before each, unless `--warm`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

DATABASE = 75984
QUERIES = 315
CUTOUTS = 12
WANTED = 100
LIMIT = 4 * 2**30


def main() -> None:
    """Runs both ways in turns, and prints what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default=None, help="Where the descriptors are written; on a disk.")
    parser.add_argument("--features", type=int, default=4096)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--warm", action="store_true", help="Leave the file in the system's cache.")
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, Path(arguments.folder))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        write(Path(folder), arguments.features)
        runs = {way: [] for way in WAYS}
        for trial in range(arguments.trials):
            for way in list(WAYS)[:: 1 if trial % 2 else -1]:
                runs[way].append(start(way, folder, arguments.warm))
    report(runs)


def write(folder: Path, features: int) -> None:
    """Queries and database of norm 1; the cut-outs of a panorama lie about one point."""
    random = np.random.default_rng(0)
    database = np.lib.format.open_memmap(folder / "database.npy", "w+", np.float32, (DATABASE, features))
    block = CUTOUTS * 512
    for start in range(0, DATABASE, block):
        rows = min(block, DATABASE - start)
        points = np.repeat(random.standard_normal((rows // CUTOUTS, features), np.float32), CUTOUTS, axis=0)
        database[start : start + rows] = unit(points + random.standard_normal((rows, features), np.float32))
    near = database[random.integers(0, DATABASE, QUERIES)]
    noise = random.standard_normal((QUERIES, features), np.float32) / np.sqrt(features)
    np.save(folder / "queries.npy", unit(near + noise))
    database.flush()


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of norm 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def start(way: str, folder: str, warm: bool) -> dict:
    """Runs one way in another process."""
    if not warm:
        drop(Path(folder) / "database.npy")
    command = [sys.executable, __file__, f"--child={way}", f"--folder={folder}"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def drop(file: Path) -> None:
    """Takes a file out of the system's cache."""
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def child(way: str, folder: Path) -> None:
    """Searches, and prints time, memory and what was found as JSON."""
    queries = np.load(folder / "queries.npy")
    groups = np.arange(DATABASE) // CUTOUTS
    search = WAYS[way]()
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    found = search(queries, folder / "database.npy", groups)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = 1024 * after.ru_maxrss
    print(json.dumps({"seconds": seconds, "processor": used, "peak": peak, "found": found.tolist()}))


def ours():
    """The library's search."""
    from keras_sare.evaluation.measures.ranking import rank

    return lambda queries, file, groups: rank(queries, np.load(file, mmap_mode="r"), WANTED, groups=groups).indices


def plain():
    """As published code searches."""
    import faiss

    def search(queries, file, groups):
        index = faiss.IndexFlatL2(queries.shape[1])
        index.add(np.load(file))
        found = index.search(queries, CUTOUTS * WANTED)[1]
        rows = []
        for row in found:
            first = np.unique(groups[row], return_index=True)[1]
            rows.append(row[np.sort(first)[:WANTED]])
        return np.array(rows)

    return search


WAYS = {"keras_sare": ours, "faiss flat index": plain}


def report(runs: dict[str, list[dict]]) -> None:
    """Prints a line for each way."""
    first, *others = (np.array(one["found"]) for each in runs.values() for one in each)
    same = min((first == other).mean() for other in others)
    best = {way: min(one["seconds"] for one in each) for way, each in runs.items()}
    baseline = best["faiss flat index"]
    print(f"{'':18s} best s   all s                 CPU s  peak GiB  to faiss")
    for way, each in runs.items():
        every = " ".join(f"{one['seconds']:6.2f}" for one in each)
        processor = min(one["processor"] for one in each)
        peak = max(one["peak"] for one in each) / 2**30
        within = "" if peak * 2**30 <= LIMIT else "  above 4 GiB"
        print(
            f"{way:18s} {best[way]:6.2f}  {every}  {processor:6.2f}  {peak:8.2f}  {best[way] / baseline:8.2f}{within}"
        )
    print(f"{100 * same:.3f} % of the images found are the same at the same place.")


if __name__ == "__main__":
    main()
