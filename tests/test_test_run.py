"""What tests/conftest.py promises of a run of the tests."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

CHILD_AND_A_KILL = """
import os, signal, subprocess

def test_it():
    # A child and a child's child, which hold on to the standard error.
    subprocess.Popen(["sh", "-c", "sleep 300 & sleep 300; true"])
    os.kill({killed}, signal.SIGKILL)
    signal.pause()
"""


@pytest.fixture
def suite(tmp_path):
    """A small suite with this one's conftest.py, and a TensorFlow that starts at once."""
    folder = tmp_path / "suite"
    (folder / "tests").mkdir(parents=True)
    for name in ("conftest.py", "end_children.py"):
        shutil.copy(TESTS / name, folder / "tests")
    stubs = {
        "tensorflow": "from unittest.mock import MagicMock\nconfig = MagicMock()\ndistribute = MagicMock()\n",
        "keras": "from unittest.mock import MagicMock\nutils = MagicMock()\n",
    }
    for name, text in stubs.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "pyproject.toml").write_text(
        "[tool.pytest.ini_options]\ntestpaths = ['tests']\nfewest_tests = '3'\n"
        "addopts = \"-q -p no:schemathesis --import-mode=importlib -m 'not slow'\"\nmarkers = ['slow']\n"
    )
    return folder


def start(suite, *options):
    plugins = ["-p", "no:cacheprovider", *(["-p", "xdist"] if "-n" in options else [])]
    command = [sys.executable, "-m", "pytest", *plugins, *options]
    # The other plugins that are installed take longer to load than all else here.
    environment = {**os.environ, "PYTHONPATH": str(suite), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=suite, env=environment, stdout=pipe, stderr=subprocess.STDOUT)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
@pytest.mark.parametrize(
    ("killed", "options"), [("os.getpid()", []), ("os.getppid()", ["-n", "1"])], ids=["alone", "with xdist"]
)
def test_killed_run_leaves_no_process_behind(suite, killed, options):
    (suite / "tests" / "test_one.py").write_text(CHILD_AND_A_KILL.format(killed=killed))
    with start(suite, "-s", *options) as run:
        # The output ends when nobody has it open any more: neither the run, nor a worker, nor what a test has started.
        run.communicate(timeout=60)
    assert run.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("tests", "options", "status"),
    [(2, [], 1), (2, ["-n", "2"], 1), (3, [], 0), (3, ["-n", "2"], 0), (2, ["tests"], 0), (2, ["-k", "test"], 0)],
)
def test_run_of_the_whole_suite_fails_where_tests_are_missing(suite, tests, options, status):
    marks = "import pytest\n@pytest.mark.skip\ndef test_skipped(): pass\n@pytest.mark.slow\ndef test_slow(): pass\n"
    (suite / "tests" / "test_one.py").write_text(marks + "".join(f"def test_{i}(): pass\n" for i in range(tests)))
    with start(suite, *options) as run:
        text = run.communicate(timeout=60)[0].decode()
    assert run.returncode == status, text
    assert ("2 tests ran, where pyproject.toml asks for 3" in text) == bool(status)
