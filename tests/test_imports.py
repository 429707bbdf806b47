"""Imports go one way, so that a reader sees what may know what."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
RANKS = {
    "utils": 0,
    "layers": 0,
    "losses": 0,
    "whitening": 0,
    "distribution": 0,
    "models": 1,
    "retrieval": 1,
    "datasets": 1,
    "extraction": 2,
    "mining": 2,
    "reconstruction": 2,
    "evaluation": 3,
    "local_features": 3,
    "localization": 4,
    "training": 4,
}
"""Rank of each package of the library: it imports packages of lower ranks only, and `utils`."""

PROGRAMS = ("export", "serving", "trainers")
"""Each may import those before it; none those after it."""

MOST_FILES = 15
"""In a folder, so that a reader finds what is there at one look."""

DISTRIBUTED = {"distribution", "extraction", "training"}
"""Packages that may know `tf.distribute`."""

PLAIN = {"retrieval", "whitening"}
"""Packages of NumPy, SciPy and Faiss: the Makefile does not repeat their tests with TensorFlow's other kernels."""


def packages():
    return {path.parent.name for path in (ROOT / "keras_sare").glob("*/__init__.py")}


def library_files():
    return [path for package in RANKS for path in (ROOT / "keras_sare" / package).rglob("*.py")]


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            yield node.module
            if node.module == "keras_sare":
                yield from (f"keras_sare.{alias.name}" for alias in node.names)


def test_library_imports_go_down_the_ranks_and_never_to_a_program():
    assert packages() == set(RANKS)
    wrong = []
    for path in library_files():
        package = path.relative_to(ROOT / "keras_sare").parts[0]
        for module in imported_modules(path):
            top, *below = module.split(".")
            is_higher = top == "keras_sare" and below and below[0] not in {package, "utils"}
            if top in PROGRAMS or (is_higher and RANKS[below[0]] >= RANKS[package]):
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert wrong == []


def test_programs_import_those_below_them_alone():
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for number, program in enumerate(PROGRAMS)
        for path in (ROOT / program).rglob("*.py")
        for module in imported_modules(path)
        if module.split(".")[0] in PROGRAMS[number + 1 :]
    ]
    assert wrong == []


def test_no_module_needs_itself():
    """By whatever way, also inside of a function."""
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in library_files()}
    needed = {name: set(modules_of_ours(path, set(names.values()))) for path, name in names.items()}
    # What needs nothing that is left goes, until nothing does: what stays is a circle, or needs one.
    while free := {name for name, others in needed.items() if not others & needed.keys()}:
        needed = {name: others for name, others in needed.items() if name not in free}
    assert needed == {}


def modules_of_ours(path, names):
    """Modules that a file imports; a package's `__init__` does not count, which whoever is in the package needs."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)} & names


def test_flags_and_distribution_stay_where_they_belong():
    wrong = []
    for path in library_files():
        package = path.relative_to(ROOT / "keras_sare").parts[0]
        if {"absl", "argparse"} & {module.split(".")[0] for module in imported_modules(path)}:
            wrong.append(f"{path.relative_to(ROOT)} knows of flags")
        if package not in DISTRIBUTED and "tf.distribute" in path.read_text().replace("`tf.distribute`", ""):
            wrong.append(f"{path.relative_to(ROOT)} knows of tf.distribute")
    assert wrong == []


def test_arithmetic_on_descriptors_is_without_tensorflow():
    known = {*PLAIN, "utils"}
    geometry = {"keras_sare.layers.rmac"}  # Where its regions lie.
    wrong = []
    for path in library_files():
        if path.relative_to(ROOT / "keras_sare").parts[0] in PLAIN:
            modules = [module.split(".") for module in {*imported_modules(path)} - geometry]
            plain = all(top not in {"keras", "tensorflow"} for top, *_ in modules)
            if not plain or any(below and below[0] not in known for top, *below in modules if top == "keras_sare"):
                wrong.append(str(path.relative_to(ROOT)))
    assert wrong == []


def test_folders_are_small():
    folders = {path.parent for top in ("keras_sare", *PROGRAMS) for path in (ROOT / top).rglob("*.py")}
    counts = {str(folder.relative_to(ROOT)): len(list(folder.glob("*.py"))) for folder in folders}
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES} == {}
