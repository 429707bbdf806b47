"""Programs answer what needs no TensorFlow without importing it, which takes seconds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = ["export", "export.index", "serving", "serving.client"]

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


@pytest.mark.parametrize("module", PROGRAMS)
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
