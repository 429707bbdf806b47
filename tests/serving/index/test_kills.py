"""Whoever kills the program that makes indexes, the index is the old one or the new one."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_sare.localization import PlaceIndex
from serving.index.__main__ import main
from tests.serving.index.test_index_program import PLACES, write_photos

pytest.importorskip("lancedb")

KILLS = 20
WALKS = 8


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A database of several hundred photos, so that writing them takes a while."""
    root = tmp_path / "data"
    lines = []
    for walk in range(WALKS):
        write_photos(root, seed=walk)
        header, *rows = (root / "places.csv").read_text().splitlines()
        lines += [row.replace(",query,", ",database,") for row in rows]
    (root / "places.csv").write_text("\n".join([header, *lines]) + "\n")
    return root


def start(command: str, place: Path, flags: list[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])}
    arguments = [sys.executable, "-m", "serving.index", command, place, *flags]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["build", "append"])
def test_an_index_killed_at_random_moments_is_the_old_one_or_the_new_one(
    data: Path, model: Path, tmp_path: Path, command: str
) -> None:
    flags = [f"--root={data}", f"--model={model}", "--image_size=48,64"]
    old = tmp_path / "old"
    place = tmp_path / "index"
    before = 0
    if command == "append":
        write_photos(tmp_path / "first", seed=99)
        main(["build", str(old), f"--root={tmp_path / 'first'}", *flags[1:]])
        shutil.copytree(old, place)
        before = PLACES
    after = before + 3 * WALKS * PLACES
    begun = time.monotonic()
    assert start(command, place, flags).wait() == 0
    lasts = time.monotonic() - begun
    states = [after]
    moments = random.Random(command)
    for _ in range(KILLS):
        if states[-1] == after:
            shutil.rmtree(place)
            if old.exists():
                shutil.copytree(old, place)
        process = start(command, place, flags)
        time.sleep(moments.uniform(0, lasts))
        process.send_signal(signal.SIGKILL)
        process.wait()
        states.append(len(PlaceIndex(place)) if place.exists() else 0)
    assert {*states} == {before, after}
    if states[-1] == before:
        main([command, str(place), *flags])
    assert len(PlaceIndex(place)) == after
