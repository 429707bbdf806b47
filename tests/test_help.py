"""Programs answer what needs no TensorFlow without importing it, which takes seconds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from export.formats import FORMATS

PROGRAMS = ["export", "export.index", "serving", "serving.client", "serving.health"]

START = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
finally:
    assert "tensorflow" not in sys.modules
"""


def start(module, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", START, module, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("module", [*PROGRAMS, "serving.index", "serving.locate"])
def test_help_shows_the_command_and_its_flags(module):
    done = start(module, "--help")
    assert "Traceback" not in done.stderr
    assert "--debug" in done.stdout.replace("--[no]", "--")


@pytest.mark.parametrize("module", PROGRAMS)
def test_wrong_flag_is_told_in_one_line_with_status_1(module):
    done = start(module, "--no_such_flag=1", "photo.jpg")
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"{module}: ")
    assert "no_such_flag" in line


def test_help_of_the_export_shows_how_to_begin_and_every_format():
    shown = start("export", "--help").stdout
    assert "python -m export all --run=runs/pitts30k" in shown
    assert "--require-recall-drop" in shown
    for one in FORMATS.values():
        assert one.description in shown
        assert all(f"--{option.name}" in shown.replace("--[no]", "--") for option in one.options)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["keras", "torch"], "export: FORMATS must be some of keras, "),
        (["keras", "--scales=multi"], "export: `scales` must only be given with the format saved_model: "),
    ],
)
def test_formats_and_their_options_are_checked_before_anything_is_opened(arguments, error, tmp_path):
    done = start("export", *arguments, f"--run={tmp_path}", f"--output={tmp_path / 'out'}")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(error)
    assert list(tmp_path.iterdir()) == []
