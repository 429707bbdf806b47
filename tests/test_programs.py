"""Every program, started as users do, with a path that is wrong."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NO_PROGRAMS = ("export.fidelity.runtime_process", "export.localise")
"""A part of another program, and a script that goes to devices alone."""

WRONG = {
    "trainers.pitts": ["--root=nowhere", "--output=out"],
    "trainers.retrieval_sfm": ["--dataset=nowhere.npz", "--output=out"],
    "trainers.retrieval_table": ["--run=nowhere", "--ground_truth=nowhere", "--output=out"],
    "trainers.sfm": ["--images=nowhere", "--output=out"],
    "trainers.compare_losses": ["--root=nowhere", "--output=out"],
    "trainers.evaluate": ["--models=nowhere", "--root=nowhere", "--output=out"],
    "trainers.demo": ["--data=nowhere", "--output=out"],
    "export": ["keras", "--run=nowhere", "--output=out"],
    "export.index": ["--model=nowhere.tflite", "--root=nowhere", "--output=out"],
    "serving": ["--model=nowhere"],
    "serving.client": ["nowhere.jpg", "--output=out"],
}


def programs():
    files = [path for package in ("trainers", "export", "serving") for path in (ROOT / package).rglob("*.py")]
    started = [path.relative_to(ROOT) for path in files if '__name__ == "__main__"' in path.read_text()]
    return {".".join(path.with_suffix("").parts).removesuffix(".__main__") for path in started}


def start(module, folder, **environment):
    folder.mkdir(exist_ok=True)
    # Without the level that the tests run at.
    known = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    known["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", module, *WRONG[module]],
        cwd=folder,
        env=known | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """How each program ended and the folder that it ran in. Two at a time: most of it is importing."""
    folders = {module: tmp_path_factory.mktemp(module) for module in WRONG}
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(start, folders, folders.values())
        return {module: (one, folders[module]) for module, one in zip(folders, done, strict=True)}


def test_every_program_is_tried():
    assert programs() - set(NO_PROGRAMS) == WRONG.keys()


@pytest.mark.parametrize("module", WRONG)
def test_wrong_path_is_told_in_one_line_with_status_1_and_nothing_is_written(ended, module):
    done, folder = ended[module]
    assert done.returncode == 1
    assert done.stdout == ""
    line = done.stderr.rstrip("\n")
    assert "\n" not in line
    assert line.startswith(f"{module}: ")
    assert "nowhere" in line
    assert not list(folder.iterdir())


def test_who_asks_for_all_that_tensorflow_tells_sees_it(tmp_path):
    done = start("export.index", tmp_path, TF_CPP_MIN_LOG_LEVEL="0")
    assert "cpu_feature_guard" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("export.index: ")
