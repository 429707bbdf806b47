import contextlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from PIL import Image

from serving.index.__main__ import main as index_places
from trainers import demo, pitts
from trainers.config import DemoConfig, PittsConfig
from trainers.config.flags import parse
from trainers.stages import demo_page, whole_line
from trainers.stages.chromium import find_chromium

ORIENTATION = 0x0112  # In EXIF; 6 is for a camera that was held upright.


@pytest.fixture
def commands(monkeypatch):
    """Modules that the demo starts. It trains and indexes in this process, where TensorFlow is imported already."""
    started = []

    def run(command, check):
        started.append(command[2])
        if command[2] == "trainers.pitts":
            pitts.run(parse(PittsConfig, command[3:])[0])
        elif command[2] == "serving.index":
            index_places(command[3:])
        else:
            return subprocess.run(command, check=check)
        return SimpleNamespace(returncode=0)

    replaced = SimpleNamespace(run=run, Popen=subprocess.Popen, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(whole_line, "subprocess", replaced)
    return started


def test_demo_runs_the_whole_line_on_photographs_and_a_model_of_the_users_own(
    town, demo_start, commands, monkeypatch, undrawn, capsys, caplog, tmp_path
):
    photos = tmp_path / "photos"
    shutil.copytree(town, photos)
    for query in (photos / "queries").rglob("*.jpg"):
        with Image.open(query) as image:
            exif = Image.Exif()
            exif[ORIENTATION] = 6
            image.save(query, exif=exif)
    given = [f"--output={tmp_path / 'demo'}", f"--data={photos}"]
    config = parse(DemoConfig, [*given, f"--weights={demo_start}", "--image_size=48,64", "--epochs=1"])[0]
    demo.run(config)

    assert commands == ["trainers.pitts", "export", "serving.index"]
    printed = capsys.readouterr().out
    for stage in ("trainers.pitts", "export saved_model", "serving"):
        assert f"$ python -m {stage} " in printed
    assert "| off the shelf |" in printed
    assert re.search(r"place found: .*, [0-9.]+ m from where the photo was taken", printed)
    assert float(re.search(r"served descriptors to the Keras model's: ([0-9.]+)", printed)[1]) >= 0.9999
    for name in ("run/recall.md", "run/recall.png", "run/matches.png", "export/saved_model/1/saved_model.pb"):
        assert (tmp_path / "demo" / name).stat().st_size > 100
    index = tmp_path / "demo" / "index"
    assert re.search(rf"\$ python -m serving --model=\S+ --index={index} --heatmaps=\S+ --feedback=\S+\n", printed)
    assert printed.endswith("and open http://localhost:8501/ in a browser.\n")
    if find_chromium() is None:
        assert "No picture of the page: there is no chromium" in printed
    else:
        with Image.open(tmp_path / "demo" / "page.png") as page:
            assert page.size == (1440, 900)

    # Nothing changed, so that nothing is exported anew, and what is served is the same.
    monkeypatch.setattr(whole_line, "served", lambda *_: contextlib.nullcontext(("address", "site")))
    monkeypatch.setattr(whole_line, "find_places", lambda *_: None)
    monkeypatch.setattr(demo_page, "picture_of_page", lambda *_: None)
    with undrawn(), caplog.at_level(logging.INFO, "keras_sare"):
        demo.run(config)
    assert "Resuming after epoch 1" in caplog.text
    assert "Saved already" in caplog.text
    assert commands == ["trainers.pitts", "export", "serving.index", "trainers.pitts"]
    assert [path.name for path in (tmp_path / "demo" / "export/saved_model").glob("*/")] == ["1"]


def test_browser_that_does_not_work_costs_the_picture_alone(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(demo_page, "find_chromium", lambda: shutil.which("false"))
    demo_page.picture_of_page("http://localhost/", tmp_path / "photo.jpg", tmp_path / "page.png")
    assert capsys.readouterr().out.startswith("No picture of the page: ")
    assert not (tmp_path / "page.png").exists()


def test_server_that_does_not_stop_is_killed(tmp_path):
    program = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\nsignal.pause()"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as server:
        assert server.stdout.readline() == b"ready\n"
        whole_line.stop(server, seconds=0.2)
        assert server.returncode == -signal.SIGKILL


def test_model_that_is_newer_than_the_last_version_is_exported_anew(tmp_path):
    versions = tmp_path / "export"
    model = tmp_path / "model.keras"
    model.touch()
    assert whole_line.export_due(versions, model)
    for version in (2, 10, "1old", ".0badcafe.partial.11"):
        (versions / str(version)).mkdir(parents=True)
        (versions / str(version) / "saved_model.pb").touch()
    os.utime(model, (1000, 1000))
    assert not whole_line.export_due(versions, model)
    os.utime(versions / "10" / "saved_model.pb", (999, 999))
    assert whole_line.export_due(versions, model)
