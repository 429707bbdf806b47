"""Imports go one way, so that a reader sees what may know what."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "utils": set(),
    "layers": set(),
    "losses": set(),
    "whitening": set(),
    "retrieval": {"layers"},
    "datasets": set(),
    "mining": {"datasets", "retrieval"},
    "models": {"layers"},
    "evaluation": {"datasets", "models", "retrieval", "whitening"},
    "training": {"datasets", "evaluation", "losses", "mining", "models"},
    "testing": set(),
}
"""What each package of the library may import, besides itself and `utils`."""


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


def library_files():
    return [path for package in ALLOWED for path in (ROOT / "keras_sare" / package).rglob("*.py")]


def test_every_package_of_the_library_has_its_rule():
    packages = {path.parent.name for path in (ROOT / "keras_sare").glob("*/__init__.py")}
    assert packages == set(ALLOWED)


@pytest.mark.parametrize("path", library_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_package_imports_only_what_it_may_know(path):
    package = path.relative_to(ROOT / "keras_sare").parts[0]
    for module in imported_modules(path):
        top, _, rest = module.partition(".")
        assert top not in ("trainers", "export", "serving"), f"the library must not import the program {module}"
        assert top != "" or module != ".", "imports are absolute"
        if top == "keras_sare" and rest:
            assert rest.split(".")[0] in ALLOWED[package] | {package, "utils"}, f"{package} must not know {module}"


@pytest.mark.parametrize("path", library_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_distribution_and_argument_parsing_stay_where_they_belong(path):
    source = path.read_text()
    if path.relative_to(ROOT / "keras_sare").parts[0] != "training":
        assert "tf.distribute" not in source.replace("`tf.distribute`", "")
    assert not {"absl", "argparse"} & {module.split(".")[0] for module in imported_modules(path)}
