import ast
import re
import runpy
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType

import pytest
import setuptools
from setuptools import find_packages

import keras_sare

ROOT = Path(__file__).parents[1]


def test_packages_are_reached_from_the_top():
    assert keras_sare.models.build is not None
    assert keras_sare.losses.SARELoss is not None


def test_what_there_is_is_listed_and_can_be_reached():
    assert dir(keras_sare) == sorted([*keras_sare.__all__, "__version__"])
    for name in keras_sare.__all__:
        reached = getattr(keras_sare, name)
        assert reached.__name__.removeprefix("keras_sare.") == name
    packages = {path.parent.name for path in (ROOT / "keras_sare").glob("*/__init__.py")} - {"utils"}
    assert {name for name in keras_sare.__all__ if isinstance(getattr(keras_sare, name), ModuleType)} == packages


def test_type_checkers_see_the_same_names_as_programs():
    tree = ast.parse((ROOT / "keras_sare" / "__init__.py").read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    assert sorted(alias.name for imported in block.body for alias in imported.names) == keras_sare.__all__


def test_presets_are_listed_by_the_names_that_build_takes():
    names = keras_sare.list_presets()
    assert names == sorted(names)
    assert "vgg16_netvlad" in names
    assert set(names) == set(keras_sare.models.PRESETS)


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


def test_hooks_before_a_commit_are_local_and_run_what_the_tests_of_a_submission_run():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert set(re.findall(r"repo: (.*)", hooks)) == {"local"}
    assert set(re.findall(r"language: (.*)", hooks)) == {"system"}
    tools = [re.split(r"[/ ]", entry, maxsplit=3)[2] for entry in re.findall(r"entry: (.*)", hooks)]
    assert tools == ["ruff", "ruff", "mypy"]
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"$(BIN)/{tool}" in makefile for tool in tools)


def test_extra_gpu_brings_cuda_for_tensorflow_in_the_same_versions(monkeypatch):
    given = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: given.update(arguments))
    runpy.run_path("setup.py")
    [tensorflow] = [one for one in given["install_requires"] if one.startswith("tensorflow>")]
    with_cuda = tensorflow.replace("tensorflow", "tensorflow[and-cuda]")
    assert [one.split(";")[0] for one in given["extras_require"]["gpu"] if "and-cuda" in one] == [with_cuda]
