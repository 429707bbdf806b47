"""The unit for systemd."""

import configparser
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def unit(folder: Path) -> configparser.ConfigParser:
    # An option that stands twice is an error here.
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(folder / "keras-sare.service")
    return parser


def test_it_stops_after_the_grace_of_the_server(
    unit: configparser.ConfigParser, grace: Callable[[list[str]], float]
) -> None:
    python, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert python.endswith("/.venv/bin/python")
    assert arguments[:2] == ["-m", "serving"]
    assert float(unit["Service"]["TimeoutStopSec"]) > grace(arguments[2:]) + 2
    assert unit["Service"]["Restart"] == "on-failure"


def test_it_may_do_little(unit: configparser.ConfigParser) -> None:
    service = unit["Service"]
    assert service["DynamicUser"] == service["NoNewPrivileges"] == service["ProtectHome"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    limit, soft = (service[name] for name in ("MemoryMax", "MemoryHigh"))
    assert int(soft.removesuffix("M")) < 1024 * int(limit.removesuffix("G"))
    assert "--model=/srv/keras_sare/" in service["ExecStart"]
    assert "/srv/keras_sare" in service["ReadOnlyPaths"].split()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on the PATH")
def test_systemd_accepts_it(folder: Path, tmp_path: Path) -> None:
    text = (folder / "keras-sare.service").read_text()
    # It looks whether the program is there.
    copy = tmp_path / "keras-sare.service"
    copy.write_text(text.replace("/opt/keras_sare/.venv/bin/python", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
