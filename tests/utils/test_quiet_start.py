import importlib
import os
import subprocess
import sys

import pytest

from keras_sare.utils.quiet_start import absent

PROGRAM = r"""
import os, re, sys
from keras_sare.utils.quiet_start import without_lines

def native(text):
    os.write(2, text)

with without_lines(re.compile(rb"I\d{4} |noise")):
    native(b"I0000 information\nE0000 an error\nnoi")
    native(b"se in two writes\n")
    print("of Python", file=sys.stderr)
    if sys.argv[1:]:
        native(b"F0000 the reason\n")
        os.abort()
native(b"I0000 after it, without an end")
"""


def run(*arguments):
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_lines_of_native_code_are_left_out_while_they_are_not_wanted_and_others_stay_in_order():
    done = run()
    assert done.returncode == 0
    assert done.stderr == "E0000 an error\nof Python\nI0000 after it, without an end"


def test_what_a_process_dies_of_is_seen():
    done = run("abort")
    assert done.returncode < 0
    assert "F0000 the reason\n" in done.stderr
    assert "information" not in done.stderr


def test_importing_the_programs_packages_changes_neither_environment_nor_modules():
    code = """
import os, sys
before = dict(os.environ)
import export, serving, trainers
sys.exit(before != dict(os.environ) or "tensorflow" in sys.modules)
"""
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=60, check=False).returncode == 0


def test_absent_modules_are_not_found_but_where_they_are_imported_already(monkeypatch):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with absent(("wave", "os")):
        with pytest.raises(ImportError):
            importlib.import_module("wave")
        assert importlib.import_module("os") is os
    assert "wave" not in sys.modules
    assert importlib.import_module("wave").Wave_read
