"""Ray as the engine of `trainers.extract`: what one process gives, whatever is killed meanwhile."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_sare.localization.storage import tables
from trainers.stages.extract.record import ExtractionRecord

pytestmark = pytest.mark.ray

FILES = 16
KILLS = int(os.environ.get("KERAS_SARE_KILLS", "3"))
"""Of each kind, at random moments."""
SHARDS = max(10, 2 * KILLS)
PHOTOS = SHARDS * int(os.environ.get("KERAS_SARE_SHARD", "800"))
"""Shards are of whole blocks of eight."""


@pytest.fixture(scope="module")
def place(small_mac_file, tmp_path_factory):
    """A model, and a manifest of many photos in few files."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path_factory.mktemp("place")
    shutil.copy(small_mac_file(32), folder / "small.keras")
    for i in range(FILES):
        pixels = np.random.default_rng(i).integers(0, 256, (6, 8, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        Image.fromarray(pixels).save(folder / f"{i}.jpg")
    numbers = np.arange(PHOTOS)
    table = {
        "id": [f"p{i}" for i in numbers],
        "uri": [f"{i % FILES}.jpg" for i in numbers],
        "latitude": 0.001 * numbers,
        "longitude": -0.001 * numbers,
    }
    pq.write_table(pa.table(table), folder / "photos.parquet")
    return folder


@pytest.fixture(scope="module")
def ray():
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        pytest.fail("This test needs ray: run `make backends`, or `pip install 'keras-sare[ray]'`")
    return Cluster


@pytest.fixture
def cluster(ray):
    """Two nodes on this machine, of one core each; the first has none of the photos' work to lose but its core."""
    cluster = ray(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100_000_000})
    cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    yield cluster
    cluster.shutdown()


def start(place, output, *flags):
    """An extraction in a process of its own, with a core for each worker whatever the engine is."""
    command = [sys.executable, "-m", "trainers.extract", f"--model={place}/small.keras", "--image_size=48,64"]
    command += [
        f"--photos={place}/photos.parquet",
        f"--output={output}",
        f"--shard={PHOTOS // SHARDS}",
        "--cpus_per_worker=1",
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    with open(f"{output}.log", "ab") as log:
        return subprocess.Popen([*command, *flags], env=environment, stdout=log, stderr=log)


def on_ray(place, output, cluster):
    return start(place, output, "--engine=ray", f"--address={cluster.address}")


def finished(process, output):
    assert process.wait(timeout=1200) == 0, Path(f"{output}.log").read_text()[-3000:]


def rows_of(output):
    table = tables.open_table(output).to_arrow().sort_by("name")
    assert len(set(table["name"].to_pylist())) == len(table) == PHOTOS
    progress = ExtractionRecord.read(output).progress
    assert (progress.photos, progress.left_out, progress.shards) == (PHOTOS, 0, SHARDS)
    assert np.isnan(table["heading"].to_numpy()).all()
    return table.drop_columns("heading")  # No NaN is equal to another.


@pytest.fixture(scope="module")
def local(place):
    """What one process gives."""
    finished(start(place, place / "local"), place / "local")
    return rows_of(place / "local")


def shards_written(output):
    try:
        return ExtractionRecord.read(output).progress.shards
    except (FileNotFoundError, ValueError):
        return 0


def wait_for_shards(process, output, count):
    """False where the extraction has ended before."""
    while process.poll() is None and shards_written(output) < count:
        time.sleep(0.1)
    return process.poll() is None


def workers_of(cluster):
    """Numbers of the processes that are actors of a cluster."""
    nodes = {node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_actor = (folder / "cmdline").read_bytes().startswith(b"ray::Worker")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # Gone meanwhile.
            continue
        if is_actor and parent in nodes:
            found.append(int(folder.name))
    return sorted(found)


def test_two_nodes_give_what_one_process_gives_whatever_worker_is_killed(place, local, cluster):
    output = place / "workers"
    process = on_ray(place, output, cluster)
    moments = random.Random(1)
    killed = 0
    for shard in sorted(moments.sample(range(SHARDS - 1), KILLS)):
        if not wait_for_shards(process, output, shard):
            break
        time.sleep(moments.uniform(0, 1))
        if workers := workers_of(cluster):
            os.kill(moments.choice(workers), signal.SIGKILL)
            killed += 1
    finished(process, output)
    assert killed
    assert rows_of(output).equals(local)


def test_a_node_that_is_killed_loses_nothing(place, local, cluster):
    output = place / "nodes"
    process = on_ray(place, output, cluster)
    moments = random.Random(2)
    for shard in sorted(moments.sample(range(SHARDS - 1), KILLS)):
        if not wait_for_shards(process, output, shard):
            break
        time.sleep(moments.uniform(0, 1))
        cluster.remove_node(max(cluster.list_all_nodes(), key=lambda node: not node.head), allow_graceful=False)
        cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    finished(process, output)
    assert rows_of(output).equals(local)


def test_a_driver_that_is_killed_goes_on_after_the_last_shard(place, local, cluster):
    output = place / "drivers"
    moments = random.Random(3)
    for _ in range(KILLS):
        process = on_ray(place, output, cluster)
        if not wait_for_shards(process, output, shards_written(output) + 1):
            break
        time.sleep(moments.uniform(0, 1))
        process.kill()
        process.wait()
    finished(on_ray(place, output, cluster), output)
    assert rows_of(output).equals(local)


def test_errors_of_workers_are_told_in_one_line(ray, place, tmp_path):
    wrong = start(place, tmp_path / "map", "--engine=ray", "--workers=1", "--memory_gb=0.00001")
    assert wrong.wait(timeout=300) == 1
    last = (tmp_path / "map.log").read_text().splitlines()[-1]
    assert last.startswith("trainers.extract: `memory_gb` must be at least")
    assert not (tmp_path / "map").exists()
