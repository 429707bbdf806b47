import os
import re
import shutil
import signal
import subprocess
import sys

from PIL import Image

from trainers.stages import whole_line

ORIENTATION = 0x0112  # In EXIF; 6 is for a camera that was held upright.


def test_demo_runs_the_whole_line_on_photographs_and_a_model_of_the_users_own(town, demo_start, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(town, photos)
    for query in (photos / "queries").rglob("*.jpg"):
        with Image.open(query) as image:
            exif = Image.Exif()
            exif[ORIENTATION] = 6
            image.save(query, exif=exif)
    command = [sys.executable, "-m", "trainers.demo", f"--output={tmp_path / 'demo'}", f"--data={photos}"]
    command += [f"--weights={demo_start}", "--image_size=48,64", "--epochs=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]

    for stage in ("trainers.pitts", "export saved_model", "serving"):
        assert f"$ python -m {stage} " in done.stdout
    assert "| off the shelf |" in done.stdout
    assert re.search(r"place found: .*, [0-9.]+ m from where the photo was taken", done.stdout)
    assert float(re.search(r"served descriptors to the Keras model's: ([0-9.]+)", done.stdout)[1]) >= 0.9999
    for name in ("run/recall.md", "run/recall.png", "run/matches.png", "export/saved_model/1/saved_model.pb"):
        assert (tmp_path / "demo" / name).stat().st_size > 100

    again = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert again.returncode == 0, again.stdout + again.stderr[-3000:]
    assert "Resuming after epoch 1" in again.stderr
    assert "Saved already" in again.stderr
    # Nothing changed, so that nothing is exported anew.
    assert [path.name for path in (tmp_path / "demo" / "export/saved_model").glob("*/")] == ["1"]


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
