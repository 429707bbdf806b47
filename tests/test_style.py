"""Habits of the code that no linter knows."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRIVATE = re.compile(r"_[a-z]\w*")
PUBLIC_IN_SPITE = {"_asdict", "_exit", "_replace"}


def test_assignments_are_not_packed():
    """`a, b = x, y` hides a statement; only an exchange of values needs it."""
    packed = []
    for path in ROOT.glob("[a-z]*/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Tuple):
                continue
            if isinstance(node.value, ast.Tuple) and not _is_exchange(node.targets[0], node.value):
                packed.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert packed == []


def test_tests_use_no_private_names_of_ours():
    """What a test needs by name is part of what a module offers, if only to the modules beside it."""
    private = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text())
        nodes = list(ast.walk(tree))
        own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)} | PUBLIC_IN_SPITE
        named = [name for node in nodes for name in _names_taken(node)]
        private += [
            f"{path.relative_to(ROOT)}: {name}" for name in named if PRIVATE.fullmatch(name) and name not in own
        ]
    assert private == []


def _names_taken(node):
    """From other objects and modules, by attribute, import or `setattr`."""
    if isinstance(node, ast.Attribute):
        return [] if isinstance(node.value, ast.Name) and node.value.id == "self" else [node.attr]
    if isinstance(node, ast.ImportFrom):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setattr":
        return [argument.value for argument in node.args[1:2] if isinstance(getattr(argument, "value", None), str)]
    return []


def _is_exchange(targets, values):
    return sorted(map(ast.unparse, targets.elts)) == sorted(map(ast.unparse, values.elts))
