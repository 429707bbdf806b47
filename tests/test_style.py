"""One statement a line."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]


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


def _is_exchange(targets, values):
    return sorted(map(ast.unparse, targets.elts)) == sorted(map(ast.unparse, values.elts))
