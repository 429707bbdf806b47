import runpy
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
import setuptools
from setuptools import find_packages

import keras_sare

ROOT = Path(__file__).parents[1]


def test_packages_are_reached_from_the_top():
    assert keras_sare.models.build is not None
    assert keras_sare.losses.SARELoss is not None


def test_unknown_attribute_is_named():
    with pytest.raises(AttributeError, match="module 'keras_sare' has no attribute 'modles'"):
        _ = keras_sare.modles


def test_importing_the_package_alone_imports_no_tensorflow():
    code = "import sys, keras_sare; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_four_top_level_packages_are_installed_and_no_test():
    names = {name.split(".")[0] for name in find_packages(ROOT) if not name.startswith("tests")}
    assert names == {"keras_sare", "trainers", "export", "serving"}
    assert set((distribution("keras-sare").read_text("top_level.txt") or "").split()) == names


def test_version_is_the_same_everywhere():
    assert distribution("keras-sare").version == keras_sare.__version__
    assert f"## {keras_sare.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_extra_gpu_brings_cuda_for_tensorflow_in_the_same_versions(monkeypatch):
    given = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: given.update(arguments))
    runpy.run_path("setup.py")
    [tensorflow] = [one for one in given["install_requires"] if one.startswith("tensorflow>")]
    with_cuda = tensorflow.replace("tensorflow", "tensorflow[and-cuda]")
    assert [one.split(";")[0] for one in given["extras_require"]["gpu"] if "and-cuda" in one] == [with_cuda]
