import csv
import json
import os
import runpy
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets import SfMDataset
from keras_sare.reconstruction import ReconstructionSettings
from keras_sare.reconstruction.reconstruct import Reconstruction
from trainers.stages import reconstruction
from trainers.stages.reconstruction import reconstruct_photos

SCENES = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "data" / "photo_scenes.py")))


@pytest.fixture
def images(tmp_path):
    SCENES.draw_scene(tmp_path / "images", 0, np.linspace(0, 2.4, 4))
    Image.new("L", (320, 240), 127).save(tmp_path / "images" / "grey.png")
    return tmp_path / "images"


def test_photos_become_a_dataset_a_table_and_pictures(images, tmp_path):
    with (tmp_path / "labels.csv").open("w") as file:
        csv.writer(file).writerows([("image", "label"), *((f"0_{i}.png", "wall") for i in range(4))])
    output = tmp_path / "run"
    table = reconstruct_photos(images, output, ReconstructionSettings(max_features=400), tmp_path / "labels.csv")
    dataset = SfMDataset.load(output / "sfm.npz")
    assert [Path(path).name for path in dataset.paths.tolist()] == [f"0_{i}.png" for i in range(4)]
    assert all(Path(path).is_file() for path in dataset.paths.tolist())
    summary = json.loads((output / "models.json").read_text())
    assert summary["models"][0]["images"] == 4
    assert summary["models"][0]["cluster"] == 0
    assert summary["summary"]["photos"] == 5
    assert summary["summary"]["in_no_model"] == 1
    assert summary["summary"]["model_purity"] == summary["summary"]["positive_agreement"] == 1.0
    assert (output / "unregistered.txt").read_text().split() == ["grey.png"]
    assert (output / "models.md").read_text() == table + "\n"
    assert table.startswith("| model | images | points |")
    assert "| in no model | 1 |" in table
    for name in ("models.png", "above.png"):
        with Image.open(output / name) as picture:
            assert min(picture.size) > 100


def test_photos_outside_the_dataset_are_named_by_the_reason(tmp_path, monkeypatch):
    names = ["a/1.png", "b.png", "c.png", "d.png"]
    paths = [str(tmp_path / "images" / name) for name in names[:2]]
    dataset = SfMDataset("street", paths, [0, 0], [0, 0])
    made = Reconstruction(names, {}, ["d.png"], [], tmp_path / "models", tmp_path / "database.db")
    complete = replace(made, images=names[:2], unregistered=[])
    monkeypatch.setattr(reconstruction, "reconstruct", lambda *_: made)
    monkeypatch.setattr(reconstruction, "read_colmap", lambda *_: dataset)
    monkeypatch.setattr(reconstruction, "draw", lambda *_: None)
    reconstruct_photos(tmp_path / "images", tmp_path / "run", ReconstructionSettings())
    assert (tmp_path / "run" / "unregistered.txt").read_text() == "d.png\n"
    assert (tmp_path / "run" / "left_out.txt").read_text() == "c.png\n"
    monkeypatch.setattr(reconstruction, "reconstruct", lambda *_: complete)
    reconstruct_photos(tmp_path / "images", tmp_path / "run", ReconstructionSettings())
    assert (tmp_path / "run" / "unregistered.txt").read_text() == ""
    assert (tmp_path / "run" / "left_out.txt").read_text() == ""


@pytest.mark.slow
def test_a_run_killed_in_any_stage_goes_on_to_the_same_models(images, tmp_path):
    SCENES.draw_scene(images, 1, np.linspace(0, 1.6, 3))

    def start(name):
        command = [sys.executable, "-m", "trainers.sfm", f"--images={images}", f"--output={tmp_path / name}"]
        with open(tmp_path / f"{name}.log", "a") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"})

    def rows(table):
        path = tmp_path / "killed" / "database.db"
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
        return 0

    assert start("unbroken").wait(300) == 0
    for table, count in (("descriptors", 2), ("two_view_geometries", 3), ("two_view_geometries", 28)):
        process = start("killed")
        while process.poll() is None and rows(table) < count:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start("killed").wait(300) == 0
    first, second = (SfMDataset.load(tmp_path / name / "sfm.npz") for name in ("unbroken", "killed"))
    assert first.paths.tolist() == second.paths.tolist()
    np.testing.assert_array_equal(first.points, second.points)
    np.testing.assert_array_equal(first.centres, second.centres)
