"""A place index of many generated photos against a plain faiss flat index: build, disk, memory, latency, recall@10.

    python benchmarks/place_index.py --folder=/disk --photos=1000000 --dim=128 --positions=tokyo247.mat
    python benchmarks/place_index.py --folder=/disk --photos=100000 --exact

Descriptors have a spectrum that falls as that of ResNet-50's GeM descriptors of London's street photos (standard
deviations of 1, 0.44, 0.15 and 0.06 in the principal directions 1, 4, 64 and 256), and lie about points of a city, 20
to each; queries are photos of such points. Points are those of a data set, again and again side by side until there are
enough, or lie on a grid. Each way runs in a process of its own, so that the peak memory is its own. Recall@10 is that
of the stored float16 descriptors, all compared; a prior of 500 m is asked for as well.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

QUERIES = 200
PHOTOS_A_POINT = 20
BATCH = 10_000
WANTED = 10
POINTS = "points.npy"


def main() -> None:
    """Runs both ways, and prints what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=None, help="where the indexes are written; on a disk")
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--positions", default="", help=".mat file of a data set whose positions are taken")
    parser.add_argument("--exact", action="store_true", help="compares all descriptors, without an approximate index")
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(WAYS[arguments.way](arguments)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        # Here: with this reader TensorFlow is loaded, which is no memory of a search.
        np.save(Path(folder) / POINTS, places(arguments))
        found = {way: run(way, folder, arguments) for way in WAYS}
    right = [set(row) for row in found["faiss"].pop("rows")]
    given = [set(row) for row in found["index"].pop("rows")]
    recall = np.mean([len(a & b) / WANTED for a, b in zip(right, given, strict=True)])
    for way, values in found.items():
        print(way, *(f"{name} {value:.3g}" for name, value in values.items()), sep="  ")
    print(f"recall@{WANTED} {recall:.4f}")


def run(way: str, folder: str, arguments: argparse.Namespace) -> dict:
    """Runs one way in another process."""
    command = [sys.executable, __file__, f"--way={way}", f"--folder={folder}"]
    command += [f"--photos={arguments.photos}", f"--dim={arguments.dim}", f"--positions={arguments.positions}"]
    command += ["--exact"] if arguments.exact else []
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def batches(arguments: argparse.Namespace) -> Iterator[tuple[int, np.ndarray]]:
    """Number of the first photo and descriptors, float16 of norm 1, batch by batch."""
    for start in range(0, arguments.photos, BATCH):
        numbers = np.arange(start, min(start + BATCH, arguments.photos))
        yield start, descriptors(numbers // PHOTOS_A_POINT, arguments.dim, seed=start + 1)


def descriptors(points: np.ndarray, dim: int, seed: int) -> np.ndarray:
    """Photos of numbered points."""
    scale = (1 + np.arange(dim)) ** -0.5
    unique, which = np.unique(points, return_inverse=True)
    centres = np.stack([np.random.default_rng([7, point]).standard_normal(dim) for point in unique])
    rows = (centres[which] + 0.8 * np.random.default_rng(seed).standard_normal((len(points), dim))) * scale
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def places(arguments: argparse.Namespace) -> np.ndarray:
    """Where the points are, metres, float64 [points, 2]."""
    count = -(-arguments.photos // PHOTOS_A_POINT)
    if not arguments.positions:
        return 10.0 * np.stack(np.divmod(np.arange(count), int(np.sqrt(arguments.photos))), axis=1)
    from keras_sare.datasets import read_dbstruct

    city = np.unique(read_dbstruct(arguments.positions, ".").database.positions, axis=0)
    copies, which = np.divmod(np.arange(count), len(city))
    return city[which] + copies[:, None] * [np.ptp(city[:, 0]), 0.0]


def queries(arguments: argparse.Namespace) -> np.ndarray:
    """Photos of points that the index knows."""
    points = np.random.default_rng(1).integers(0, max(arguments.photos // PHOTOS_A_POINT, 1), QUERIES)
    return descriptors(points, arguments.dim, seed=0).astype(np.float32)


def with_index(arguments: argparse.Namespace) -> dict:
    """Builds and asks a place index."""
    from keras_sare.localization import IndexRecord, PlaceIndex, PlaceRows

    exact = arguments.photos if arguments.exact else 0
    record = IndexRecord("generated", "generated", arguments.dim, exact_rows=exact)
    place = Path(arguments.folder) / "index"
    start = time.perf_counter()
    points = np.load(Path(arguments.folder) / POINTS)
    index = PlaceIndex.create(
        place,
        record,
        (
            PlaceRows(
                [f"{first + i}" for i in range(len(rows))],
                rows,
                points[(first + np.arange(len(rows))) // PHOTOS_A_POINT],
            )
            for first, rows in batches(arguments)
        ),
    )
    built = time.perf_counter() - start
    size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    measured = ask(arguments, lambda query: [int(name) for name in index.search(query, WANTED).names[0]])
    start = time.perf_counter()
    for query, point in zip(queries(arguments), points[:QUERIES], strict=False):
        index.search(query[None], WANTED, np.stack([point - 500, point + 500], axis=1))
    near = (time.perf_counter() - start) / min(QUERIES, len(points))
    shutil.rmtree(place)
    return {"build_s": built, "disk_MB": size / 1e6, **measured, "near_ms": 1000 * near}


def with_faiss(arguments: argparse.Namespace) -> dict:
    """Builds and asks a flat index of float32, in memory."""
    import faiss

    start = time.perf_counter()
    flat = faiss.IndexFlatIP(arguments.dim)
    for _, rows in batches(arguments):
        unit = rows.astype(np.float32)
        flat.add(unit / np.linalg.norm(unit, axis=1, keepdims=True))
    built = time.perf_counter() - start
    return {"build_s": built, "disk_MB": 0.0, **ask(arguments, lambda query: flat.search(query, WANTED)[1][0].tolist())}


def ask(arguments: argparse.Namespace, search: Callable[[np.ndarray], list[int]]) -> dict:
    """Asks for one photo after another."""
    seconds = []
    rows = []
    asked = queries(arguments)
    search(asked[:1])
    for query in asked:
        start = time.perf_counter()
        rows.append(search(query[None]))
        seconds.append(time.perf_counter() - start)
    p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1000
    # Not getrusage's, which begins with that of the process that started this one.
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    return {"p50_ms": p50, "p99_ms": p99, "a_second": 1 / np.mean(seconds), "peak_MiB": peak, "rows": rows}


WAYS = {"faiss": with_faiss, "index": with_index}

if __name__ == "__main__":
    main()
